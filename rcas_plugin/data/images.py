"""One image file: read as RGB whatever its depth, palette or alpha, and described by size, depth and faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, UnidentifiedImageError

from rcas_plugin.errors import RcasError

#: What is read, for sentences.
READ = "8 bits, 16 bits with values of 0 to 65535, or floats of 0 to 1"
#: What a mode of PIL is called; one with more than 8 bits is told by its values.
_NAMES = {"1": "1 bit", "L": "gray", "P": "palette", "LA": "gray with alpha", "La": "gray with alpha", "PA": "palette with alpha",
          "RGBA": "RGB with alpha", "RGBa": "RGB with alpha", "I": "gray 16 bit", "F": "gray float"}  # fmt: skip
_ORIENTATION = 0x0112
#: So far, of 255, the channels of a gray image may be apart.
_LOSSY = 2


@dataclass(frozen=True)
class ImageFacts:
    """The description of one image file.

    Attributes:
        path: of the file.
        size: width and height in pixels; (0, 0) where it cannot be read.
        kind: its colours and depth, in words.
        error: why it cannot be read, or "".
        turned: whether its EXIF data ask a viewer to turn it, which nothing here does.
        pages: of a TIFF; the first is read.
        constant: whether all pixels are alike once it is read as RGB; False where only the header was looked at.
        largest: the largest value of a gray image of 16 bits, else None.
        gray: whether its colours are gray in every pixel; False where only the header was looked at.
    """

    path: str
    size: tuple[int, int] = (0, 0)
    kind: str = ""
    error: str = ""
    turned: bool = False
    pages: int = 1
    constant: bool = False
    largest: int | None = None
    gray: bool = False


def load_image(path: str | Path) -> Image.Image:
    """Read an image file as 8-bit RGB.

    16-bit values are divided by 257, floats of 0 to 1 multiplied by 255. Gray is repeated in the three channels; what alpha
    makes transparent becomes black. EXIF orientation is not applied, and of several pages the first is read, as StudioGAN does.

    Raises:
        RcasError: the file is no whole image, or its values are of another range; the sentence names it.
    """
    with _naming(path), Image.open(path) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """An opened image as 8-bit RGB, as `load_image` says; ValueError for values of another range."""
    if _is_deep(image.mode):
        return Image.fromarray(_levels(np.asarray(image))).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        straight = image.convert("LA") if image.mode == "La" else image
        colours = straight.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, (0, 0, 0, 255)), colours).convert("RGB")
    return image.convert("RGB")


def image_facts(path: str, *, decode: bool) -> ImageFacts:
    """The facts of an image file, from its header alone or every pixel (`decode`); a fault is in `error`, nothing is raised."""
    try:
        with _naming(path), Image.open(path) as image:
            kind, turned = _kind(image), _is_turned(image)
            pages = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
            if not decode:
                return ImageFacts(path, image.size, kind, turned=turned, pages=pages)
            image.load()
            largest = int(np.asarray(image).max()) if _is_deep(image.mode) and image.mode != "F" else None
            colours = to_rgb(image)
            bands: Any = colours.getextrema()
            constant = all(low == high for low, high in bands)
            return ImageFacts(path, image.size, kind, "", turned, pages, constant, largest, _is_gray(colours))
    except RcasError as error:
        return ImageFacts(path, error=str(error))


def _is_gray(image: Image.Image) -> bool:
    """True where the channels of an RGB image are equal, but for what lossy compression of a gray one leaves."""
    red, green, blue = image.split()
    most: Any = [ImageChops.difference(red, other).getextrema()[1] for other in (green, blue)]
    return max(most) <= _LOSSY


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Turn any error from inside into an `RcasError` that names the file; PIL raises many types for damaged files."""
    try:
        yield
    except Exception as error:
        reason = f"it is no image of a known kind, or holds more than {READ}" if isinstance(error, UnidentifiedImageError) \
            else " ".join(str(error).split()) or type(error).__name__  # fmt: skip
        raise RcasError(f"{path} cannot be read: {reason}; put a whole image in its place, or take it away") from None


def _is_deep(mode: str) -> bool:
    """True for modes whose pixel is one number of more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def _levels(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Gray values of 16 bits, or floats of 0 to 1, as 0 to 255."""
    floats = values.dtype.kind == "f"
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= (1 if floats else 65535)):  # not of a comparison: NaN is neither
        raise ValueError(f"its values go from {low:g} to {high:g}, and what is read is {READ}")
    scaled = values.astype(np.float32) * 255 if floats else values.astype(np.float32) / 257
    return np.rint(scaled).astype(np.uint8)


def _kind(image: Image.Image) -> str:
    mode = "I" if image.mode.startswith("I;16") else image.mode
    name = _NAMES.get(mode, mode)
    tiles = getattr(image, "tile", None)  # gone where the pixels have been read
    packed = str(tiles[0][3]) if tiles else ""
    if "16" in packed and mode not in ("I", "F"):
        name += " 16 bit"  # PIL reads the upper 8 of them
    return name + (" with alpha" if "transparency" in image.info and "alpha" not in name else "")


def _is_turned(image: Image.Image) -> bool:
    return image.format in ("JPEG", "MPO") and image.getexif().get(_ORIENTATION, 1) not in (0, 1)
