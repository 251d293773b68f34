"""Distances between sets of features: Fréchet's from torchmetrics, the kernel's from scikit-learn."""

from __future__ import annotations

import math

import torch
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance


class _Features(nn.Module):
    """The identity, as torchmetrics' feature network: the features are computed already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, (n, d) and (m, d); in float64."""
    # of these features alone: in a distributed run only one process may be here, and the others would not answer
    metric = FrechetInceptionDistance(feature=_Features(real.shape[1]), sync_on_compute=False).set_dtype(torch.float64)
    metric.update(real.double().cpu(), real=True)
    metric.update(fake.double().cpu(), real=False)
    return float(metric.compute())


def kernel_distance(real: Tensor, fake: Tensor, *, sigma: float = 1.0, scaled: bool = True) -> float:
    """Kernel maximum mean discrepancy (KMMD) of two sets of features (n, d) and (m, d), with a Gaussian kernel; in float64.

    `sqrt(mean k(r, r') + mean k(f, f') - 2 mean k(r, f))`, the means over all pairs, `k(a, b) = exp(-|a - b|^2 / (2 sigma^2))`.

    Args:
        real: features of real images.
        fake: features of generated images.
        sigma: width of the kernel.
        scaled: divide squared distances by their mean among the real features first, as in Xu et al. (2018); without it a width
            of 1 is far below the distances in hundreds of dimensions, and the kernel sees nothing.
    """
    a, b = (features.double().cpu().numpy() for features in (real, fake))
    scale = float(euclidean_distances(a, squared=True).mean()) if scaled else 1.0
    scale = scale or 1.0  # real images that are all alike
    gamma = 1 / (2 * sigma**2 * scale)
    squared = rbf_kernel(a, gamma=gamma).mean() + rbf_kernel(b, gamma=gamma).mean() - 2 * rbf_kernel(a, b, gamma=gamma).mean()
    return math.sqrt(max(float(squared), 0.0))
