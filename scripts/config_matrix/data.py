"""Image folders made on the fly: the classes of the pre-training, and the ones that come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from config_matrix.reduction import ADDED, CLASSES, IMG_SIZE, NEW, SLOT

#: Images of a class that was there, and of one that comes: in parts of 32, as `label_start` takes them, the last part is of 11,
#: which no group of StyleGAN's (4, 8) divides.
OLD_IMAGES, NEW_IMAGES = 6, 43


def write_data(root: Path) -> Path:
    """Write image folders: root/old (the classes of the pre-training), root/new (the new ones beside them), root/swapped (what
    the labels are after the swap), root/one (a single class)."""
    source = np.random.default_rng(0)
    swapped = tuple(NEW if name == SLOT else name for name in CLASSES)
    folders = {"old": CLASSES, "new": (*CLASSES, NEW, ADDED), "swapped": swapped, "one": CLASSES[:1]}
    for part, classes in folders.items():
        for index, name in enumerate(classes):
            folder = root / part / "train" / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(OLD_IMAGES if name in CLASSES else NEW_IMAGES):
                pixels = source.integers(0, 60, (IMG_SIZE, IMG_SIZE, 3)) + 35 * index
                pixels[index :: index + 2] //= 2
                path = folder / f"{number}.png"
                if not path.is_file():  # another run may be reading it
                    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root
