"""How many of a layer's filters a task has of its own: lambda, fixed, by layer, or by how far the task is from the first.

The schedules are those of Piggyback GAN's published runs, in steps of 1/64 as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

#: Lambda is a multiple of this one's inverse where it is computed.
STEPS = 64


def filter_count(part: float, filters: int) -> int:
    """The number of a task's own filters, `ceil(part * filters)`, at least 1.

    Args:
        part: lambda, in (0, 1].
        filters: of the layer.
    """
    return min(max(math.ceil(round(part * filters, 9)), 1), filters)  # 0.07 * 100 is 7, whatever floats say


def layer_parts(layers: int, ratio: float = 0.8, floor: float = 0.0) -> list[float]:
    """Lambda of each layer, rising to 1 at the last: `max(ceil(64 ratio^(layers - l)) / 64, floor)`, l = 1 … layers.

    The one published run has 16 layers, ratio 0.8 and floor 0; its variants 0.8, 0.75, 0.7, 0.78 with floor 1/8.
    """
    return [max(_rounded_up(ratio ** (layers - layer)), floor) for layer in range(1, layers + 1)]


def mirrored_parts(layers: int, ends: float = 0.8, ratio: float = 0.8, floor: float = 1 / 8) -> list[float]:
    """Lambda of each layer, falling from `ends` at the first and at the last towards the middle.

    `max(ceil(64 ends ratio^i) / 64, floor)`, i being the number of layers to the nearer end; published with ends 0.8 and 0.75.
    """
    return [max(_rounded_up(ends * ratio ** min(layer, layers - 1 - layer)), floor) for layer in range(layers)]


def task_part(distance: float) -> float:
    """Lambda of a task at a distance in [0, 1] from the first one: the nearest multiple of 1/64, from 1/64 to 1.

    The published code lets it become 0, which leaves no filter of the task's own.
    """
    return min(max(round(STEPS * distance), 1), STEPS) / STEPS


def pair_distance(outputs: Tensor, targets: Tensor, how: Literal["l1", "cosine"] = "l1") -> float:
    """How far the first task's model is from a new task's pairs, in [0, 1].

    Args:
        outputs: of the first task's model, in evaluation mode, for the new inputs: (n, channels, height, width) in [-1, 1].
        targets: the new outputs, likewise.
        how: `l1`: `mean |outputs - targets| / 2`. `cosine`: the mean over images of `(1 - cos) / 2`, of flattened images. (The
            published code takes the mean of `|cos|` over flattened channels, which grows with similarity.)
    """
    if how == "l1":
        return float((outputs - targets).abs().mean()) / 2
    return float((1 - F.cosine_similarity(outputs.flatten(1), targets.flatten(1))).mean()) / 2


def feature_distance(generated: Sequence[Tensor], real: Sequence[Tensor]) -> float:
    """How far a class's generated images are from real ones of another, in [0, 1], where there are no pairs.

    The mean over layers of `sum |f - r| / sum (|f| + |r|)`, f and r being mean features over the images.

    Args:
        generated: features of generated images, (n, …) a layer.
        real: of real ones, (m, …) a layer.
    """
    distances = []
    for of_generated, of_real in zip(generated, real, strict=True):
        f, r = of_generated.double().mean(0), of_real.double().mean(0)
        size = (f.abs() + r.abs()).sum()
        distances.append((f - r).abs().sum() / size if size else torch.zeros_like(size))
    return float(torch.stack(distances).mean())


def _rounded_up(part: float) -> float:
    return math.ceil(round(STEPS * part, 9)) / STEPS
