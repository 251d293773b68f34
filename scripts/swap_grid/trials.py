"""Two changes of `class_swap` that were tried and are no part of it; a row of the grid that bears the name runs with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from rcas_plugin.embedded.steps import Loop
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
