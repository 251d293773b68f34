"""Image folders and made-up generators for the comparison."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rcas_plugin.utility.material import Material, Part, read_material
from rcas_plugin.utility.photographs import PATTERN

#: Each class is a bright square in its own corner.
CORNERS = {"a": (1, 1), "b": (1, 9), "new": (9, 1)}


def squares(name: str, count: int, seed: int, *, spread: int = 3, noise: float = 0.3) -> Tensor:
    """uint8 images (count, 1, 16, 16): a square near the class's corner, moved by up to `spread` pixels, in noise."""
    source = np.random.default_rng(seed)
    images = source.normal(-0.6, noise, (count, 1, 16, 16))
    for image in images:
        y, x = (place + int(source.integers(-1, spread)) for place in CORNERS[name])
        y, x = max(0, y), max(0, x)
        image[0, y : y + 5, x : x + 5] += 0.7
    return torch.from_numpy(np.clip(127.5 * (images + 1), 0, 255).astype(np.uint8))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """train/ and valid/ with 12 images of each class, two a photograph; photographs of the test are others."""
    for part, start, seed in (("train", 0, 0), ("valid", 50, 1)):
        for index, name in enumerate(CORNERS):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number, image in enumerate(squares(name, 12, 10 * seed + index)):
                Image.fromarray(image[0].numpy()).save(folder / f"{start + number // 2:04d}_{number % 2}.png")
    return tmp_path


@pytest.fixture
def material(folders: Path) -> Material:
    listed = [
        {name: sorted(str(file) for file in (folders / part / name).iterdir()) for name in CORNERS} for part in ("train", "valid")
    ]
    return read_material(listed[0], listed[1], "new", 16, PATTERN)


@pytest.fixture
def made_up() -> Callable[..., Material]:
    """(training images a class, test images a class, noise) -> material in memory."""

    def make(train: int, test: int, noise: float = 0.3) -> Material:
        parts = []
        for what, count, seed in (("train", train, 20), ("test", test, 30)):
            images = [squares(name, count, seed + index, noise=noise) for index, name in enumerate(CORNERS)]
            files = tuple(f"{what}/{name}/{number}" for name in CORNERS for number in range(count))
            parts.append(Part(torch.cat(images), torch.arange(3).repeat_interleave(count), files, files))
        return Material(tuple(CORNERS), 2, *parts)

    return make
