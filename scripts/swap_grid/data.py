"""The real images of the grid's data sets, at the size that the networks make."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm


@dataclass(frozen=True)
class Data:
    """Real images (n, channels, size, size) in [-1, 1] and the class (n,) of each; training and test."""

    names: tuple[str, ...]
    images: Tensor
    classes: Tensor
    test_images: Tensor
    test_classes: Tensor


def load_data(name: str, path: Path, size: int = 32) -> Data:
    """A data set by name (`mnist`, `cifar`, `tiles`), resized; MNIST and the tiles in one channel."""
    return {"mnist": load_mnist, "cifar": load_folders, "tiles": load_folders}[name](path, size)


def load_mnist(path: Path, size: int) -> Data:
    """MNIST from its npz file (x_train, y_train, x_test, y_test)."""
    with np.load(path, allow_pickle=False) as file:
        parts = [(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test")]
    images = [
        _tensor([_resized(Image.fromarray(image), size) for image in tqdm(pixels, "MNIST", delay=2)]) for pixels, _ in parts
    ]
    labels = [torch.from_numpy(classes).long() for _, classes in parts]
    return Data(tuple("0123456789"), images[0], labels[0], images[1], labels[1])


def load_folders(path: Path, size: int) -> Data:
    """A zip file of train/CLASS/* and valid/CLASS/*, gray where all its images are."""
    images: dict[str, list[np.ndarray]] = {"train": [], "valid": []}
    classes: dict[str, list[int]] = {"train": [], "valid": []}
    with zipfile.ZipFile(path) as archive:
        entries = sorted(entry for entry in archive.namelist() if entry.endswith((".jpg", ".png")))
        names = tuple(sorted({entry.split("/")[-2] for entry in entries}))
        for entry in tqdm(entries, path.stem, delay=2):
            part, class_name = entry.split("/")[-3:-1]
            with Image.open(io.BytesIO(archive.read(entry))) as image:
                images[part].append(_resized(image if image.mode == "L" else image.convert("RGB"), size))
            classes[part].append(names.index(class_name))
    train, test = (_tensor(images[part]) for part in ("train", "valid"))
    return Data(names, train, torch.tensor(classes["train"]), test, torch.tensor(classes["valid"]))


def _resized(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image if image.size == (size, size) else image.resize((size, size), Image.Resampling.LANCZOS))


def _tensor(images: list[np.ndarray]) -> Tensor:
    stacked = torch.from_numpy(np.stack(images))
    return (stacked[:, None] if stacked.dim() == 3 else stacked.permute(0, 3, 1, 2)).float() / 127.5 - 1
