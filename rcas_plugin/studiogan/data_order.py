"""The order in which a swap's data are drawn: the same whether a run was interrupted or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, RandomSampler

from rcas_plugin.run.random_state import DataPosition


class OrderedBatches:
    """Batches of indices whose order is a matter of seed and epoch alone, from any position of an epoch on.

    It stands for a data loader's batch sampler. Upstream's random sampler draws its order from torch's process-wide source, which
    an interrupted run has used up differently; under -DDP upstream's sampler goes by the epoch already.

    Args:
        loader: upstream's; its batch sampler is replaced.
        seed: of the run.
        start: where the run was; 0 at its start.
    """

    def __init__(self, loader: DataLoader[Any], seed: int, start: DataPosition) -> None:
        self._batches, self._seed, self._start = loader.batch_sampler, seed, start
        self._epoch = start.epoch
        # torch guards its attribute against a change that would not reach the workers; none has been started
        object.__setattr__(loader, "batch_sampler", self)

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]  # torch's own has a length

    def __iter__(self) -> Iterator[list[int]]:
        assert self._batches is not None
        source = torch.Generator().manual_seed((self._seed << 20) + self._epoch)
        sampler = getattr(self._batches, "sampler", None)
        if isinstance(sampler, RandomSampler):
            sampler.generator = source
        batches = iter(self._batches)
        drawn = self._start.drawn if self._epoch == self._start.epoch else 0
        for _ in range(drawn):
            next(batches, None)
        self._epoch += 1
        yield from batches
