"""Gray, deep, transparent, oblong and small images: main.py and the embedded loop show the networks the same tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rcas_plugin.embedded.data import read_images

#: The level of every square below, of 255, after it is read.
LEVEL = 100


def square(mode: str) -> Image.Image:
    """A square of one level in PIL's mode."""
    if mode == "I;16":
        return Image.fromarray(np.full((32, 32), LEVEL * 257, np.uint16))
    if mode == "P":
        palette = Image.new("P", (32, 32), 1)
        palette.putpalette([9, 9, 9, LEVEL, LEVEL, LEVEL])
        return palette
    levels = {"L": LEVEL, "RGB": (LEVEL,) * 3, "RGBA": (200, 200, 200, 128), "LA": (200, 128), "F": LEVEL / 255}
    return Image.new(mode, (32, 32), levels[mode])


def oblong(width: int, height: int) -> Image.Image:
    """Gray LEVEL in the centre square, white beside it."""
    pixels: npt.NDArray[np.uint8] = np.full((height, width), 255, np.uint8)
    short, top, left = min(width, height), (height - min(width, height)) // 2, (width - min(width, height)) // 2
    pixels[top : top + short, left : left + short] = LEVEL
    return Image.fromarray(pixels)


IMAGES: dict[str, Callable[[], Image.Image]] = {
    "gray.png": lambda: square("L"),
    "deep.png": lambda: square("I;16"),
    "deep.tif": lambda: square("I;16"),
    "float.tif": lambda: square("F"),
    "colour.png": lambda: square("RGB"),
    "half.png": lambda: square("RGBA"),
    "half_gray.png": lambda: square("LA"),
    "palette.png": lambda: square("P"),
    "wide.png": lambda: oblong(80, 40),
    "tall.png": lambda: oblong(33, 50),
    "tiny.png": lambda: oblong(9, 7),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A class of every kind of image, and one of a single image."""
    for name in ("many", "one"):
        (tmp_path / "train" / name).mkdir(parents=True)
    for name, image in IMAGES.items():
        image().save(tmp_path / "train" / "many" / name)
    exif = Image.Exif()
    exif[0x0112] = 6  # asks a viewer to turn it
    oblong(96, 48).save(tmp_path / "train" / "many" / "turned.jpg", exif=exif, quality=100)
    square("L").save(tmp_path / "train" / "one" / "0.png")
    return tmp_path


def test_both_loops_read_every_kind_of_image_alike(data: Path, upstream: Callable[[str], Any]) -> None:
    images, targets, classes = read_images(data / "train", 32)
    theirs = upstream("data_util").Dataset_("toy", str(data), True, crop_long_edge=True, resize_size=32, resizer="lanczos")
    assert [label for _, label in theirs] == targets.tolist()
    torch.testing.assert_close(torch.stack([image for image, _ in theirs]), images, rtol=0, atol=0)
    assert classes.counts == (len(IMAGES) + 1, 1)


def test_every_kind_of_image_is_what_it_shows(data: Path) -> None:
    images, _, _ = read_images(data / "train", 32)
    assert images.shape == (len(IMAGES) + 2, 3, 32, 32)
    levels = (images + 1) * 127.5
    names = [*sorted([*IMAGES, "turned.jpg"]), "one"]
    for name, image in zip(names, levels, strict=True):
        assert float((image - LEVEL).abs().max()) <= 2, name
