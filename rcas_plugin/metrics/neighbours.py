"""The nearest real image of each generated one, and how near it is, to tell copies of training images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Neighbours:
    """The nearest real image of each generated one.

    Attributes:
        nearest: its index (m,).
        distances: Euclidean, in the features (m,).
        authentic: part of the generated images that are farther from their nearest real image than that one is from every
            other real image (authenticity of Alaa et al., 2022). Other real images of the class would come to about a half, or
            more; near 0 means copies. None where there are under two real images.
    """

    nearest: Tensor
    distances: Tensor
    authentic: float | None


def nearest_real(real: Tensor, fake: Tensor) -> Neighbours:
    """The nearest of real features (n, d) for each of the generated ones (m, d); in float64.

    A real image that is there twice is no nearest neighbour of itself: its twin is one, at distance 0.
    """
    exact = "donot_use_mm_for_euclid_dist"  # the quick way loses small distances to rounding
    distances, nearest = torch.cdist(fake.double(), real.double(), compute_mode=exact).min(1)
    if len(real) < 2 or not len(fake):
        return Neighbours(nearest, distances, None)
    among = torch.cdist(real.double(), real.double(), compute_mode=exact).fill_diagonal_(torch.inf).min(1).values
    return Neighbours(nearest, distances, float((distances > among[nearest]).double().mean()))
