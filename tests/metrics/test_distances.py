"""The Fréchet distance against its formula, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rcas_plugin.metrics.distances import frechet_distance, kernel_distance


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
