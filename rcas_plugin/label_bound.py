"""Label-bound parameters: the rows and columns of weights that one label alone reaches.

In G these are the columns of a conditional batch norm's gain and bias that a one-hot label picks, or the label's row of a
shared embedding, or StyleGAN's label column of the mapping network; in D the label's row of the projection embedding. A new class
that moves into a slot has to move these furthest, and changing them leaves every other label as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcas_plugin.gan import Gan, device_of, discriminate, frozen_eval, generate, part_sizes
from rcas_plugin.importance import DISCRIMINATOR, GENERATOR
from rcas_plugin.synapses import find_synapses


@dataclass(frozen=True)
class LabelBound:
    """A weight with one row or one column a label.

    Attributes:
        role: `generator` or `discriminator`.
        name: of the trained tensor, as in `named_parameters()`.
        module: the layer that holds it.
        weight: the trained tensor, two-dimensional.
        dim: 0 where a label has a row, 1 where it has a column.
    """

    role: str
    name: str
    module: nn.Module
    weight: nn.Parameter
    dim: int

    def of(self, label: int) -> Tensor:
        """The label's row or column: a view."""
        return self.weight.select(self.dim, label)

    def in_model(self, model: nn.Module) -> LabelBound:
        """The same weight of a copy of the network, such as G's moving average."""
        layer = model.get_submodule(self.name.rpartition(".")[0])
        return LabelBound(self.role, self.name, layer, model.get_parameter(self.name), self.dim)


@torch.no_grad()
def find_label_bound(gan: Gan, num_classes: int) -> list[LabelBound]:
    """The label-bound weights of G and D, found by what reaches the layers in one forward pass of known labels.

    A linear layer whose input is the one-hot label has a column a label; an embedding that is asked for the label has a row.
    """
    device = device_of(gan.generator)
    count = part_sizes(gan.discriminator, 8)[0]  # in one pass, so that the labels reach a layer together
    labels = (torch.arange(count) % num_classes).flip(0).to(device)
    one_hot = F.one_hot(labels, num_classes)
    seen: dict[nn.Module, int] = {}

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        given = args[0]
        if isinstance(module, nn.Embedding):
            if given.shape == labels.shape and torch.equal(given, labels):
                seen[module] = 0
        elif given.shape == one_hot.shape and torch.equal(given, one_hot.to(given.dtype)):
            seen[module] = 1

    kinds = frozenset({"linear", "embedding"})
    synapses = {GENERATOR: find_synapses(gan.generator, kinds), DISCRIMINATOR: find_synapses(gan.discriminator, kinds)}
    handles = [
        synapse.module.register_forward_pre_hook(look) for of_network in synapses.values() for synapse in of_network.values()
    ]
    try:
        with frozen_eval(gan.generator, gan.discriminator):
            z = gan.latents(len(labels), torch.Generator().manual_seed(0)).to(device)
            discriminate(gan.discriminator, generate(gan.generator, z, labels), labels)
    finally:
        for handle in handles:
            handle.remove()
    return [
        LabelBound(role, name, synapse.module, synapse.weight, seen[synapse.module])
        for role, of_network in synapses.items()
        for name, synapse in of_network.items()
        if synapse.module in seen
    ]


def warm_down(multiplier: float, steps: int, step: int) -> float:
    """The multiplier at a step: from `multiplier` at step 0 to 1 at `steps` and after, along half a cosine."""
    if step >= steps:
        return 1.0
    return 1 + (multiplier - 1) * (1 + math.cos(math.pi * step / steps)) / 2


def scale_label_steps(
    optimizer: torch.optim.Optimizer, bound: Iterable[LabelBound], labels: Sequence[int], multiplier: Callable[[], float]
) -> None:
    """From now on the optimiser steps the labels' own parameters `multiplier()` times as far as it would.

    The direction and the optimiser's state stay its own; other labels' rows and columns of the same weight are untouched.
    """
    stretch_steps(optimizer, [weight.of(label).detach() for weight in bound for label in labels], multiplier)


def stretch_steps(optimizer: torch.optim.Optimizer, views: Sequence[Tensor], multiplier: Callable[[], float]) -> None:
    """From now on the optimiser steps what the views show `multiplier()` times as far as it would."""
    before: list[Tensor] = []

    def remember(*_: Any) -> None:
        before[:] = [view.clone() for view in views]

    def stretch(*_: Any) -> None:
        factor = multiplier()
        for view, old in zip(views, before, strict=True):
            view.copy_(torch.lerp(old, view, factor))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(stretch)
