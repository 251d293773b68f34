"""Nearest real neighbours: by hand, for copies, and for other images of the same kind."""

from __future__ import annotations

import torch

from rcas_plugin.metrics.neighbours import nearest_real


def test_by_hand() -> None:
    real = torch.tensor([[0.0], [1.0], [4.0]])
    found = nearest_real(real, torch.tensor([[0.25], [4.5], [9.0]]))
    assert found.nearest.tolist() == [0, 2, 2]
    assert found.distances.tolist() == [0.25, 0.5, 5.0]
    # 0.25 < 1 (0 to 1), 0.5 < 3 (4 to 1), 5 > 3
    assert found.authentic == 1 / 3


def test_copies_are_found_out() -> None:
    real = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    copies = real[:50] + 1e-3
    others = torch.randn(50, 16, generator=torch.Generator().manual_seed(1))
    assert nearest_real(real, copies).authentic == 0
    authentic = nearest_real(real, others).authentic
    assert authentic is not None
    assert authentic > 0.4


def test_one_real_image_says_nothing() -> None:
    found = nearest_real(torch.zeros(1, 2), torch.ones(3, 2))
    assert found.authentic is None
    assert found.nearest.tolist() == [0, 0, 0]
