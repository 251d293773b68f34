"""Images made on the fly, so that no data set is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

#: The class that is given up and the one that comes.
SLOT, NEW = "b", "new"


def write_data(root: Path, classes: int, images: int, size: int = 32) -> tuple[Path, Path]:
    """Write image folders of so many classes, and the same with the new class beside them; returns both roots."""
    names = [chr(ord("a") + index) for index in range(classes)]
    for part, folders in (("old", names), ("both", [*names, NEW])):
        source = np.random.default_rng(0)
        for index, name in enumerate(folders):
            folder = root / part / "train" / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(images):
                pixels = source.integers(0, 60, (size, size, 3)) + 180 * index // len(folders)
                pixels[index :: index + 2] //= 2
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root / "old", root / "both"
