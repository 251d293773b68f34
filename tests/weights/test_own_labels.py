"""Rows and columns of a table that are a task's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from rcas_plugin.weights.own_labels import OwnLabels


@pytest.mark.parametrize("dim", [0, 1])
def test_other_rows_and_columns_stay_under_decay_and_momentum(dim: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 5, bias=False)
    table = layer.weight.detach().clone()
    adapter = OwnLabels(table.shape, [3, 1], dim)
    adapter.start(table)
    assert torch.equal(adapter(table), table), "the identity to the bit"
    parametrize.register_parametrization(layer, "weight", adapter, unsafe=True)
    layer.parametrizations.weight.original.requires_grad_(False)  # type: ignore[union-attr, operator]
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(4, 5)).square().mean().backward()
        optimizer.step()
    for place in range(5):
        assert torch.equal(layer.weight.select(dim, place), table.select(dim, place)) == (place not in (1, 3))
    assert layer.weight.is_contiguous()


def test_it_comes_back_from_its_part_of_a_state_dict() -> None:
    table = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    adapter = OwnLabels(table.shape, [2], 1)
    nn.init.ones_(adapter.values)
    again = OwnLabels.rebuild(adapter.state_dict())
    assert torch.equal(again(table), adapter(table))
    assert adapter(table)[:, 2].tolist() == [1.0] * 4
    assert (again.places, again.dim) == ((2,), 1)
