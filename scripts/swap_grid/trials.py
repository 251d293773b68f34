"""What was tried and is no part of the methods: two changes of `class_swap`, and replayed images that are drawn once.

A row of the grid that bears a change's name runs with it; a row of swaps in a row with `memory` has its images drawn once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from unittest import mock

import torch
from torch import Tensor

from rcas_plugin.embedded.steps import Loop
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.pretrained import Pretrained, source_of
from rcas_plugin.methods.replay import ReplayedBatches
from rcas_plugin.weights.label_bound import LabelBound


@dataclass(frozen=True)
class Trial:
    """What a row does beside its section.

    Attributes:
        ahead: updates of all of D, after the match and before G moves.
        bounded: whether each update of the match keeps the slot's rows and columns within the largest norm of the others'.
    """

    ahead: int = 0
    bounded: bool = False

    @contextmanager
    def matching(self) -> Iterator[None]:
        """While the method prepares: the bound on norms, where there is one."""
        if not self.bounded:
            yield
            return
        with mock.patch.object(LabelBound, "limit", within_the_others):
            yield

    def train_ahead(self, loop: Loop) -> None:
        """The updates of D alone."""
        loop.gan.generator.train()
        loop.gan.discriminator.train()
        for _ in range(self.ahead):
            loop.update_discriminator(0)


def within_the_others(bound: LabelBound, label: int) -> Callable[[Tensor], Tensor]:
    """A function from a label's row or column to the nearest one whose norm is no larger than the largest of the others'."""
    weight = bound.weight.detach()
    count = weight.shape[bound.dim] - bound.offset
    largest = torch.stack([bound.of(other, weight).norm() for other in range(count) if other != label]).max()
    return lambda vector: vector * (largest / vector.norm().clamp_min(1e-12)).clamp(max=1)


#: The names of rows, and what each tries.
TRIALS = {"class_swap, D ahead": Trial(ahead=40), "class_swap, norms bounded": Trial(bounded=True)}


@dataclass(frozen=True)
class DrawnOnce:
    """A pre-trained generator whose replayed images are some that were drawn once: their latents are, and it does not move."""

    pretrained: Pretrained
    pool: Tensor

    def latents(self, count: int, source: torch.Generator) -> Tensor:
        """Latents (count, z_dim) of the pool, each alike."""
        return self.pool[torch.randint(len(self.pool), (count,), generator=source)]

    def images(self, latents: Tensor, labels: Tensor) -> Tensor:
        """As `Pretrained.images`."""
        return self.pretrained.images(latents, labels)


@contextmanager
def drawn_once(count: int) -> Iterator[None]:
    """Meanwhile `remaining_data: replay` shows `count` images of each label that are drawn once, in place of new ones."""

    def batches(pretrained: Pretrained, plan: LabelPlan, *, drawn: Sequence[int], seed: int) -> ReplayedBatches:
        pool = pretrained.latents(count, source_of(seed + 1))
        return ReplayedBatches(cast(Pretrained, DrawnOnce(pretrained, pool)), plan, drawn=drawn, seed=seed)

    with mock.patch("rcas_plugin.run.lifecycle.ReplayedBatches", batches):
        yield
