"""The real images of the grid's data sets, at the size that the networks make."""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from rcas_plugin.files import temporary_folder


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


def add_data_sets(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the data sets' files."""
    parser.add_argument("--mnist", type=Path, help="mnist.npz (x_train, y_train, x_test, y_test)")
    parser.add_argument("--cifar", type=Path, help="a zip file of train/CLASS/*.jpg and valid/CLASS/*.jpg, 32x32")
    parser.add_argument("--tiles", type=Path, help="a zip file of train/CLASS/*.png and valid/CLASS/*.png, gray")


def unpacked(path: Path, cache: Path, name: str, digits: Mapping[str, int]) -> Path:
    """The folder with train/CLASS/ and valid/CLASS/ of a data set's file, written to `cache` now or before; whole or not at all.

    Args:
        path: of the npz or zip file.
        cache: where it goes.
        name: of its folder there.
        digits: of MNIST, images of a digit that are written: `train` and `valid`.
    """
    root = cache / name
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with temporary_folder(cache) as partial:
            if path.suffix == ".npz":
                _write_digits(path, partial / name, digits)
            else:
                with zipfile.ZipFile(path) as archive:
                    for entry in tqdm(archive.namelist(), desc=f"unpacking {path.name}", delay=2):
                        archive.extract(entry, partial / name)
            (partial / name).rename(root)
    return root


def _write_digits(path: Path, root: Path, digits: Mapping[str, int]) -> None:
    """Write the first images of each digit as PNG files."""
    with np.load(path, allow_pickle=False) as file:
        for part, folder in (("train", "train"), ("test", "valid")):
            images, labels = file[f"x_{part}"], file[f"y_{part}"]
            for digit in tqdm(range(10), desc=f"unpacking {path.name}", delay=2):
                (root / folder / str(digit)).mkdir(parents=True)
                for index in np.flatnonzero(labels == digit)[: digits[folder]]:
                    Image.fromarray(images[index]).save(root / folder / str(digit) / f"{index:05d}.png")
