"""Image folders in memory, for the embedded networks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from tqdm.auto import tqdm

from rcas_plugin.data.check import Preparation, problems
from rcas_plugin.data.folders import ClassFolders
from rcas_plugin.data.look import DatasetLook, look_at
from rcas_plugin.errors import RcasError
from rcas_plugin.labels import DataClasses


def fingerprint(images: Tensor, classes: DataClasses) -> str:
    """A name of a data set by its content."""
    return hashlib.sha256(images.numpy().tobytes() + repr(classes).encode()).hexdigest()[:16]


def read_images(folder: Path, size: int, look: DatasetLook | None = None) -> tuple[Tensor, Tensor, DataClasses]:
    """All images (n, 3, size, size) in [-1, 1], their class indices (n,), and the classes; arguments as of `read_bytes`."""
    images, targets, classes = read_bytes(folder, size, look)
    return images.float().div_(255).sub_(0.5).div_(0.5), targets, classes


def read_bytes(folder: Path, size: int, look: DatasetLook | None = None) -> tuple[Tensor, Tensor, DataClasses]:
    """All images (n, 3, size, size) as uint8, their class indices (n,), and the classes; the centre square, resized.

    Args:
        folder: holds a folder a class.
        size: that they get.
        look: at the folder, where it has been looked at.
    """
    # classes of one colour are fine to try things on here, so none is asked about
    if refusals := problems(look or look_at(folder), Preparation(size, "lanczos"), used=()):
        raise RcasError(refusals[0])
    resize = transforms.Resize((size, size), transforms.InterpolationMode.LANCZOS)
    data = ClassFolders(folder, transforms.Compose([_centre_square, resize, transforms.PILToTensor()]))
    images = torch.empty(len(data), 3, size, size, dtype=torch.uint8)
    for place, (image, _) in enumerate(tqdm(data, desc="reading images", unit="image", delay=2, disable=None)):
        images[place] = image
    targets = torch.tensor(data.targets)
    counts = torch.bincount(targets, minlength=len(data.classes)).tolist()
    return images, targets, DataClasses(tuple(data.classes), tuple(counts))


def _centre_square(image: Image.Image) -> Image.Image:
    return transforms.functional.center_crop(image, min(image.size))  # type: ignore[no-any-return]
