"""Pairs of images made of digits: two tasks of translation with the same targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import sobel
from sklearn.datasets import load_digits
from torch import Tensor


@dataclass(frozen=True)
class Digits:
    """Images of digits, (n, 1, size, size) in [-1, 1], and which digit each is, (n,); held-out ones too."""

    images: Tensor
    labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor


def edges(images: Tensor) -> Tensor:
    """The outlines: Sobel's gradient, its strongest in each image 1, none -1."""
    pixels = images[:, 0].numpy()
    strength = np.stack([np.hypot(sobel(image, 0), sobel(image, 1)) for image in pixels])[:, None]  # it smooths along all axes
    strongest = strength.max((1, 2, 3), keepdims=True)
    return torch.from_numpy(2 * strength / np.maximum(strongest, 1e-6) - 1).float()


#: Name of a task -> what makes its inputs of its targets, the digits.
TASKS: dict[str, Callable[[Tensor], Tensor]] = {"edges to digit": edges, "inverted to digit": torch.neg}


def load_pairs(size: int, mnist: Path | None = None, count: int = 2000) -> Digits:
    """scikit-learn's digits (1,437 to train, 360 held out), or some of MNIST's.

    Args:
        size: pixels a side.
        mnist: `mnist.npz` with `x_train`, `y_train`, `x_test`, `y_test`.
        count: of MNIST's images to train on; half as many are held out.
    """
    if mnist is None:
        data: Any = load_digits()
        images, labels = _sized(data.images / 16, size), torch.from_numpy(data.target).long()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))  # writers follow one another
        train, rest = order[: len(order) * 4 // 5], order[len(order) * 4 // 5 :]
        return Digits(images[train], labels[train], images[rest], labels[rest])
    with np.load(mnist, allow_pickle=False) as data:
        parts = [(data["x_train"][:count], data["y_train"][:count]), (data["x_test"][: count // 2], data["y_test"][: count // 2])]
    tensors = [(_sized(images / 255, size), torch.from_numpy(labels).long()) for images, labels in parts]
    return Digits(*tensors[0], *tensors[1])


def _sized(images: Any, size: int) -> Tensor:
    """Images (n, height, width) in [0, 1] as (n, 1, size, size) in [-1, 1]."""
    pixels = torch.from_numpy(images).float()[:, None]
    return torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True).clamp(0, 1) * 2 - 1
