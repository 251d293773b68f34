"""Label-bound parameters: the rows and columns of weights that one label alone reaches.

In G these are the columns of a conditional batch norm's gain and bias that a one-hot label picks (behind InfoGAN's codes, where
those go in as well), or the label's row of a shared embedding, or StyleGAN's label column of the mapping network; in D the
label's row of the projection embedding. A new class that moves into a slot has to move these furthest, and changing them leaves
every other label as it was; under spectral norm too, once its norm is held (`LabelBound.hold_norm`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan, device_of, discriminate, frozen_eval, generate, part_sizes
from rcas_plugin.weights.synapses import find_synapses, spectral_norm_of


@dataclass(frozen=True)
class LabelBound:
    """A weight with one row or one column a label.

    Attributes:
        role: `generator` or `discriminator`.
        name: of the trained tensor, as in `named_parameters()`.
        module: the layer that holds it.
        weight: the trained tensor, two-dimensional.
        dim: 0 where a label has a row, 1 where it has a column.
        offset: rows or columns in front of label 0's.
    """

    role: str
    name: str
    module: nn.Module
    weight: nn.Parameter
    dim: int
    offset: int = 0

    def of(self, label: int, tensor: Tensor | None = None) -> Tensor:
        """The label's row or column of the weight, or of a tensor of its shape such as its gradient: a view."""
        return (self.weight if tensor is None else tensor).select(self.dim, self.offset + label)

    @torch.no_grad()
    def hold_norm(self, labels: Sequence[int]) -> None:
        """Let the labels' own rows or columns no longer count in the weight's spectral norm, and keep the norm to the bit.

        Before they are edited; afterwards every other label's are divided by what they were divided by. Without spectral norm
        nothing happens.
        """
        norm = spectral_norm_of(self.module)
        if norm is not None:
            norm.hold(self.weight, norm.sigma(self.weight), self.dim, [self.offset + label for label in labels])

    def limit(self, label: int) -> Callable[[Tensor], Tensor]:
        """A function from the label's row or column to the nearest one that spectral norm will not shrink the others for."""
        norm = spectral_norm_of(self.module)
        return norm.limit(self.weight.detach(), self.dim, self.offset + label) if norm is not None else lambda vector: vector

    def in_model(self, model: nn.Module) -> LabelBound:
        """The same weight of a copy of the network, such as G's moving average."""
        layer = model.get_submodule(self.name.rpartition(".")[0])
        return replace(self, module=layer, weight=model.get_parameter(self.name))


@torch.no_grad()
def find_label_bound(gan: Gan, num_classes: int) -> list[LabelBound]:
    """The label-bound weights of G and D, found by what reaches the layers in one forward pass of known labels.

    A linear layer whose input holds the one-hot label has a column a label; an embedding that is asked for the label has a row.
    """
    device = device_of(gan.generator)
    count = part_sizes(gan.discriminator, 8)[0]  # in one pass, so that the labels reach a layer together
    labels = (torch.arange(count) % num_classes).flip(0).to(device)
    one_hot = F.one_hot(labels, num_classes)
    positions: dict[nn.Module, tuple[int, int]] = {}

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        inputs = args[0]
        if isinstance(module, nn.Embedding):
            if inputs.shape == labels.shape and torch.equal(inputs, labels):
                positions[module] = 0, 0
        elif (offset := _offset_of(one_hot, inputs)) is not None:
            positions[module] = 1, offset

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
        LabelBound(role, name, synapse.module, synapse.weight, *positions[synapse.module])
        for role, of_network in synapses.items()
        for name, synapse in of_network.items()
        if synapse.module in positions
    ]


def _offset_of(block: Tensor, inputs: Tensor) -> int | None:
    """The column of `inputs` (n, features) at which `block` (n, labels) begins, or None where it is not a part of them."""
    if inputs.ndim != 2 or len(inputs) != len(block) or inputs.shape[1] < block.shape[1]:
        return None
    width, columns = block.shape[1], block.to(inputs.dtype)
    for start in (inputs == columns[:, :1]).all(0).nonzero().flatten().tolist():
        if torch.equal(inputs[:, start : start + width], columns):
            return int(start)
    return None


def warm_down(multiplier: float, steps: int, step: int) -> float:
    """The multiplier at a step: from `multiplier` at step 0 to 1 at `steps` and after, along half a cosine."""
    if step >= steps:
        return 1.0
    return 1 + (multiplier - 1) * (1 + math.cos(math.pi * step / steps)) / 2


def scale_updates(optimizer: torch.optim.Optimizer, views: Sequence[Tensor], multiplier: Callable[[], float]) -> None:
    """Make the optimiser step the viewed entries `multiplier()` times as far as it would, from now on.

    The direction and the optimiser's state stay its own; the other entries of the same weight are untouched.
    """
    before: list[Tensor] = []

    def remember(*_: Any) -> None:
        before[:] = [view.clone() for view in views]

    def stretch(*_: Any) -> None:
        factor = multiplier()
        for view, old in zip(views, before, strict=True):
            view.copy_(torch.lerp(old, view, factor))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(stretch)
