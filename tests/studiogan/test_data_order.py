"""The order of a swap's data: a matter of seed and epoch, from any position on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from rcas_plugin.run.random_state import DataPosition
from rcas_plugin.studiogan.data_order import OrderedBatches


def epochs(seed: int, start: DataPosition, count: int = 2, workers: int = 0) -> list[list[list[int]]]:
    loader: DataLoader[Any] = DataLoader(TensorDataset(torch.arange(12)), 3, shuffle=True, drop_last=True, num_workers=workers)
    OrderedBatches(loader, seed, start)
    assert len(loader) == 4
    return [[batch[0].tolist() for batch in loader] for _ in range(count)]


def test_a_run_that_goes_on_draws_what_is_left() -> None:
    torch.manual_seed(0)
    whole = epochs(5, DataPosition(), count=3)
    torch.rand(10)  # other draws do not matter
    assert epochs(5, DataPosition(1, 3), count=2) == [whole[1][3:], whole[2]]
    assert epochs(5, DataPosition(2, 4), count=1) == [[]], "the epoch was at its end"
    assert whole[0] != whole[1]
    assert sorted(index for batch in whole[0] for index in batch) == list(range(12))
    assert epochs(6, DataPosition(), count=1)[0] != whole[0]


@pytest.mark.slow
def test_with_processes_that_load() -> None:
    assert epochs(5, DataPosition(0, 1), count=1, workers=1) == [epochs(5, DataPosition(), count=1)[0][1:]]
