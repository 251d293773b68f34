"""Distances between sets of features: Fréchet's and KID's from torchmetrics, the Gaussian kernel's from scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.stats import sem
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

#: KID: images of a subset, and how many subsets are drawn.
SUBSET, SUBSETS = 100, 50


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


def kid(real: Tensor, fake: Tensor, *, subset: int = SUBSET, subsets: int = SUBSETS) -> tuple[float, float]:
    """KID of features (n, d) and (m, d), mean and standard error over subsets (Bińkowski et al., 2018); in float64.

    The squared maximum mean discrepancy, without bias, with the kernel `(a . b / d + 1)^3`. It may be under 0 where the sets are
    alike. Subsets overlap, so the error is of their choice alone; how far another sample of images would lie is somewhat more.

    Args:
        real: features of real images, at least two.
        fake: features of generated images, at least two.
        subset: images of each set in a subset; at most half of the smaller set is taken, so that subsets differ.
        subsets: how many are drawn, the same ones each time.
    """
    a, b = real.double().cpu(), fake.double().cpu()
    size = max(2, min(subset, len(a) // 2, len(b) // 2))
    source = torch.Generator().manual_seed(0)
    values = []
    for _ in range(subsets):
        of_real, of_fake = (features[torch.randperm(len(features), generator=source)[:size]] for features in (a, b))
        values.append(float(poly_mmd(of_real, of_fake)))
    return float(np.mean(values)), float(sem(values))


def diversity(real: Tensor, fake: Tensor) -> float | None:
    """The mean distance between two generated images, of that between two real ones; 1 is as diverse as real images are.

    Args:
        real: features (n, d) of real images of one class, at least two.
        fake: features (m, d) of generated ones, at least two.

    Returns:
        A ratio of mean Euclidean distances over all pairs, in float64; None where the real images are all alike.
    """
    among_real, among_fake = (float(torch.pdist(features.double().cpu()).mean()) for features in (real, fake))
    return among_fake / among_real if among_real else None
