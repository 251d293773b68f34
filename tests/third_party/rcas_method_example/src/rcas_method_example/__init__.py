"""`RCAS.method: slot_only`: G learns an offset to the slot's own rows and columns, and nothing else; D trains whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pydantic import Field

from rcas_plugin import Batch, Gan, Method
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.registry import adapters, methods
from rcas_plugin.settings import CommonSettings
from rcas_plugin.weights.adapters import adapter_parameters, attach
from rcas_plugin.weights.held import hold_buffers
from rcas_plugin.weights.label_bound import find_label_bound


@adapters.register("slot_offset")
class SlotOffset(nn.Module):
    """A parametrization of one weight: offsets to its slices of some labels, 0 at the start.

    Args:
        offset: one slice a label, stacked along dimension 0.
        labels: of the slices.
        dim: the weight's dimension that counts labels.
    """

    def __init__(self, offset: Tensor, labels: list[int], dim: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(offset)
        self.labels, self.dim = labels, dim

    def forward(self, weight: Tensor) -> Tensor:
        index = torch.tensor(self.labels, device=weight.device)
        return weight.index_add(self.dim, index, self.offset.movedim(0, self.dim))

    def get_extra_state(self) -> dict[str, Any]:
        return {"adapter": "slot_offset", "labels": self.labels, "dim": self.dim}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """`rebuild` has read it already."""

    @classmethod
    def rebuild(cls, parts: Mapping[str, Any]) -> SlotOffset:
        """The adapter of a checkpoint: `parts` is its part of the state dict."""
        state = parts["_extra_state"]
        return cls(parts["offset"].clone(), list(state["labels"]), int(state["dim"]))


class SlotOnlySettings(CommonSettings):
    """The `RCAS` section of `method: slot_only`."""

    shrink: float = Field(0.0, ge=0, description="weight of the mean squared offset in G's loss")


@methods.register("slot_only")
class SlotOnly(Method):
    """Every other label's images stay what they are, for good: of G and of its moving average, what makes them does not move."""

    Settings = SlotOnlySettings
    presets: Mapping[str, Mapping[str, Any]] = {"slot_only": {"shrink": 0.01}}
    settings: SlotOnlySettings

    def attach(self, gan: Gan, checkpoint: Checkpoint) -> None:
        super().attach(gan, checkpoint)
        generators = [network for network in (gan.generator, gan.ema) if network is not None]
        for network in generators:  # batch norm's statistics are everybody's
            hold_buffers(network, lambda: True)
        if checkpoint.adapted:
            return
        slots = sorted(self.context.plan.slots)
        for bound in find_label_bound(gan, self.context.plan.num_classes):
            if bound.role == "generator":
                places = [bound.offset + slot for slot in slots]
                for network in generators:
                    weight = network.get_parameter(bound.name)
                    offset = torch.zeros_like(weight).movedim(bound.dim, 0)[: len(places)].contiguous()
                    attach(network, bound.name, weight, SlotOffset(offset, places, bound.dim))

    def trained(self, gan: Gan) -> Iterable[nn.Parameter]:
        return [*adapter_parameters(gan.generator), *gan.discriminator.parameters()]

    def averaged(self, gan: Gan) -> Iterable[Tensor]:
        return adapter_parameters(gan.generator)

    def slot_views(self, gan: Gan, role: str) -> list[Tensor]:
        if role == "discriminator":
            return super().slot_views(gan, role)
        return [offset.detach() for offset in adapter_parameters(gan.generator)]

    def generator_loss(self, batch: Batch) -> Tensor | None:
        kept = super().generator_loss(batch)
        squares = torch.stack([offset.square().mean() for offset in adapter_parameters(self.gan.generator)])
        return self.settings.shrink * squares.mean() + (0 if kept is None else kept)
