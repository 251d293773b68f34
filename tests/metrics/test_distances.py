"""The Fréchet distance against its formula, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rcas_plugin.metrics.distances import diversity, frechet_distance, kernel_distance, kid


def test_equals_the_formula() -> None:
    source = torch.Generator().manual_seed(0)
    real = torch.randn(60, 5, generator=source) @ torch.randn(5, 5, generator=source)
    fake = torch.randn(50, 5, generator=source) + 1
    a, b = real.double().numpy(), fake.double().numpy()
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # the trace of the root of s t is the sum of the roots of its eigenvalues
    root = np.sqrt(np.linalg.eigvals(s @ t).real.clip(min=0)).sum()
    by_hand = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * root
    assert frechet_distance(real, fake) == pytest.approx(by_hand, rel=1e-6)


def test_is_nothing_between_equals() -> None:
    same = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-8)


def test_the_kernel_distance_is_the_formula_by_hand() -> None:
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(n, 3, generator=source, dtype=torch.float64) for n in (5, 4))

    def mean_kernel(a: torch.Tensor, b: torch.Tensor, scale: float) -> float:
        pairs = [(p, q) for p in a.tolist() for q in b.tolist()]
        return sum(math.exp(-sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) / (2 * scale)) for p, q in pairs) / len(pairs)

    squares = [sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) for p in real.tolist() for q in real.tolist()]
    for scaled, scale in ((False, 1.0), (True, sum(squares) / len(squares))):
        by_hand = mean_kernel(real, real, scale) + mean_kernel(fake, fake, scale) - 2 * mean_kernel(real, fake, scale)
        assert kernel_distance(real.float(), fake.float(), scaled=scaled) == pytest.approx(math.sqrt(by_hand), rel=1e-5)
    assert kernel_distance(real, real) == 0


def test_kid_is_the_mean_of_the_published_estimator_over_subsets() -> None:
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randn(12, 3, generator=source).double(), 1 + torch.randn(10, 3, generator=source).double()

    def unbiased(a: torch.Tensor, b: torch.Tensor) -> float:
        """Binkowski et al., equation 4, pair by pair."""
        k = [[[(float(p @ q) / 3 + 1) ** 3 for q in right] for p in left] for left, right in ((a, a), (b, b), (a, b))]
        m = len(a)
        own = [sum(rows[i][j] for i in range(m) for j in range(m) if i != j) / (m * (m - 1)) for rows in k[:2]]
        return sum(own) - 2 * sum(map(sum, k[2])) / m**2

    draws = torch.Generator().manual_seed(0)
    values = []
    for _ in range(7):
        chosen = [torch.randperm(len(features), generator=draws)[:4] for features in (real, fake)]
        values.append(unbiased(real[chosen[0]], fake[chosen[1]]))
    mean, error = kid(real.float(), fake.float(), subset=4, subsets=7)
    assert mean == pytest.approx(np.mean(values), rel=1e-4)
    assert error == pytest.approx(np.std(values, ddof=1) / math.sqrt(7), rel=1e-4)
    assert kid(real, fake) == kid(real, fake), "the same subsets each time"
    assert abs(kid(real, real + 0)[0]) < kid(real, fake)[0]


def test_diversity_is_a_ratio_of_mean_distances() -> None:
    real = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 8.0]])  # 5, 8, 5
    fake = torch.tensor([[1.0, 1.0], [1.0, 3.0], [1.0, 1.0]])  # 2, 0, 2
    assert diversity(real, fake) == pytest.approx((4 / 3) / 6)
    assert diversity(real, real) == pytest.approx(1)
    assert diversity(fake[:1].repeat(3, 1), real) is None
