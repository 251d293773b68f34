"""The real images of the comparison: of training and of the test, of the new class and of the remaining ones."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional
from tqdm.auto import tqdm

from rcas_plugin.data.images import load_image
from rcas_plugin.errors import RcasError
from rcas_plugin.utility.photographs import compile_pattern, photograph_of


@dataclass(frozen=True)
class Part:
    """Some real images.

    Attributes:
        images: uint8 (n, channels, size, size).
        labels: the class (n,) of each.
        files: the path of each.
        photographs: what each is a part of.
    """

    images: Tensor
    labels: Tensor
    files: tuple[str, ...]
    photographs: tuple[str, ...]

    def at(self, positions: Sequence[int]) -> Part:
        """The images at some positions."""
        where = list(positions)
        return Part(self.images[where], self.labels[where], tuple(self.files[p] for p in where),
                    tuple(self.photographs[p] for p in where))  # fmt: skip

    def positions(self, label: int) -> list[int]:
        """Where the images of a class are."""
        return [int(position) for position in (self.labels == label).nonzero().flatten()]


@dataclass(frozen=True)
class Material:
    """All real images of a comparison.

    Attributes:
        classes: names; the labels of the classifier are their places.
        new: the place of the new class.
        train: what may be trained on.
        test: what is only ever tested on.
    """

    classes: tuple[str, ...]
    new: int
    train: Part
    test: Part

    @property
    def of_new(self) -> int:
        """How many training images the new class has."""
        return len(self.train.positions(self.new))

    @property
    def usual(self) -> float:
        """The mean number of training images of a remaining class."""
        return (len(self.train.labels) - self.of_new) / (len(self.classes) - 1)

    @property
    def gray(self) -> bool:
        return self.train.images.shape[1] == 1

    def with_new(self, count: int, seed: int) -> Part:
        """The training images with `count` of the new class, drawn by the seed; those of a smaller count are among them."""
        new = self.train.positions(self.new)
        order = torch.randperm(len(new), generator=torch.Generator().manual_seed(seed)).tolist()
        kept = {new[index] for index in order[:count]}
        label = self.train.labels.tolist()
        return self.train.at([p for p in range(len(label)) if label[p] != self.new or p in kept])

    def fingerprint(self) -> str:
        """A digest of all images, their classes and photographs."""
        digest = hashlib.sha256(json.dumps([self.classes, self.new]).encode())
        for part in (self.train, self.test):
            digest.update(part.images.numpy().tobytes() + part.labels.numpy().tobytes() + json.dumps(part.photographs).encode())
        return digest.hexdigest()[:16]

    def remarks(self) -> list[str]:
        """What makes the test easier than it looks: photographs, or whole images, that are in training and test alike."""
        sentences = []
        crops = len(set(self.test.photographs)) < len(self.test.files)
        shared = sorted(set(self.train.photographs) & set(self.test.photographs)) if crops else []
        if shared:
            sentences.append(f"{len(shared)} photographs have images in training and in the test alike ({shared[0]} is one): the "
                             "figures of every row are too good; put each photograph's images on one side")  # fmt: skip
        known = {_content(image) for image in self.train.images}
        twice = sum(_content(image) in known for image in self.test.images)
        if twice:
            sentences.append(f"{twice} test images are training images as well: the figures of every row are too good")
        return sentences


def read_material(
    train: Mapping[str, Sequence[str]], test: Mapping[str, Sequence[str]], new: str, size: int, group: str
) -> Material:
    """Read the images of listed files at a size: the centre square, resized by Lanczos; gray where all of them are.

    Args:
        train: class -> files.
        test: class -> files, of the same classes.
        new: the name of the new class.
        size: of the generated images, in pixels.
        group: the regular expression whose first group names a file's photograph.

    Raises:
        RcasError: a class has no images, or a file is no image.
    """
    pattern, classes = compile_pattern(group), tuple(train)
    for what, files in (("training", train), ("test", test)):
        for name in classes:
            if not files.get(name):
                raise RcasError(f"--data: the class {name!r} has no {what} images; put some there")
    parts = []
    for files in (train, test):
        paths = [(path, index) for index, name in enumerate(classes) for path in files[name]]
        photographs = tuple(photograph_of(path, classes[index], pattern) for path, index in paths)
        images = _read([path for path, _ in paths], size)
        parts.append(Part(images, torch.tensor([index for _, index in paths]), tuple(path for path, _ in paths), photographs))
    if all(bool((part.images == part.images[:, :1]).all()) for part in parts):
        parts = [Part(part.images[:, :1].clone(), part.labels, part.files, part.photographs) for part in parts]
    return Material(classes, classes.index(new), *parts)


def _read(paths: Sequence[str], size: int) -> Tensor:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        bar = tqdm(pool.map(lambda path: _square(path, size), paths), total=len(paths), desc="reading images", unit="image",
                   delay=2, disable=None)  # fmt: skip
        return torch.stack(list(bar))


def _square(path: str | Path, size: int) -> Tensor:
    image = load_image(path)
    square = functional.center_crop(image, min(image.size)).resize((size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def _content(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()
