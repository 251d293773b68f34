"""Snapshots: the same latents through the generator again and again, so that pictures and curves can be made of a run.

A run with an `RCAS` section keeps them beside its checkpoint: `before`, `reinit` (right after `Method.prepare`) and one at
each save step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rcas_plugin.data.stock import as_bytes, as_floats
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import Gan, sample_images

FOLDER = "snapshots"


def save_snapshot(folder: Path, moment: str, gan: Gan, labels: Sequence[int], per_label: int) -> None:
    """Write `per_label` images of each label to `folder/snapshots/MOMENT.npz` (`images` uint8 (n, h, w, channels), `labels`)."""
    if per_label < 1:
        return
    repeated = torch.tensor(labels).repeat_interleave(per_label)
    images = sample_images(gan.evaluated, repeated, gan.latents, seed=0)
    with atomic_path(folder / FOLDER / f"{moment}.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=pixels_of(images), labels=repeated.numpy())


def pixels_of(images: Tensor) -> np.ndarray:
    """Images (n, channels, h, w) in [-1, 1] as bytes (n, h, w, channels)."""
    pixels: np.ndarray = as_bytes(images).permute(0, 2, 3, 1).numpy()
    return pixels


def images_of(pixels: np.ndarray) -> Tensor:
    """Bytes (n, h, w, channels) as images (n, channels, h, w) in [-1, 1]: the inverse of `pixels_of`."""
    return as_floats(torch.from_numpy(pixels).permute(0, 3, 1, 2))


def load_snapshot(folder: Path, moment: str) -> tuple[Tensor, Tensor]:
    """Images (n, channels, h, w) in [-1, 1] and labels (n,) of a moment."""
    with np.load(folder / FOLDER / f"{moment}.npz", allow_pickle=False) as content:
        return images_of(content["images"]), torch.from_numpy(content["labels"])


def moments(folder: Path) -> dict[int, str]:
    """Step -> the name of its snapshot, ascending; `reinit` is step 0. `before` is left out: it is no step of the run."""
    names = {0: "reinit"}
    for path in (folder / FOLDER).glob("step=*.npz"):
        names[int(path.stem.partition("=")[2])] = path.stem
    return dict(sorted(names.items()))
