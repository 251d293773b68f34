"""Piggyback GAN: some filters of a task's own beside combinations of a bank of all earlier ones (Zhai et al., 2020).

Each convolution of G gets them, the one that makes the image all of its own; biases and norms are the task's too. D is trained
as usual, from the base's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import base_of
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import DISCRIMINATOR, Gan, device_of, frozen_eval, generate
from rcas_plugin.methods.base import Context
from rcas_plugin.methods.features import LayerFeatures
from rcas_plugin.methods.piggyback.conversion import (
    attached_filters,
    choose_counts,
    growth,
    new_filters,
    start,
)
from rcas_plugin.methods.piggyback.schedule import feature_distance, layer_parts, mirrored_parts, task_part
from rcas_plugin.methods.piggyback.settings import PiggybackSettings
from rcas_plugin.methods.tasks_apart import TasksApart, bias_of
from rcas_plugin.weights.adapters import load_plain, plain_name
from rcas_plugin.weights.synapses import find_convolutions

#: Real and generated images of each new class that a task's distance is measured on.
IMAGES = 256


class Piggyback(TasksApart):
    """Piggyback GAN as a method: filters and mixing weights, a task; the bank grows from task to task."""

    Settings = PiggybackSettings
    settings: PiggybackSettings

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._own_filters: dict[str, int] = {}
        self._distance: float | None = None

    # putting it in --------------------------------------------------------------------------------------------------------

    def attach(self, gan: Gan, checkpoint: Checkpoint) -> None:
        self._converted = list(find_convolutions(gan.generator).values())
        self._checkpoint: Checkpoint | None = checkpoint
        super().attach(gan, checkpoint)
        self._checkpoint = None

    def adapters_for(self, role: str, network: nn.Module) -> Mapping[str, nn.Module]:
        if role == DISCRIMINATOR:
            return {}
        earlier = self.lineage.tasks
        if not self._own_filters:
            self._own_filters = choose_counts(network, self._parts(), earlier=earlier, output=self.layers.output)
        return new_filters(network, self._own_filters, earlier)

    def _parts(self) -> float | list[float]:
        """Lambda, for all layers or of each."""
        filters, layers = self.settings.filters, len(self._converted)
        if filters.how == "fixed":
            return filters.part
        if filters.how == "layer":
            return layer_parts(layers, filters.ratio, filters.floor)
        if filters.how == "mirrored":
            return mirrored_parts(layers, filters.ends, filters.ratio, filters.floor)
        distance = torch.tensor(self._measure(), dtype=torch.float64, device=device_of(self.gan.generator))
        if dist.is_initialized():  # each process has drawn images of its own, and all must build the same filters
            dist.broadcast(distance, 0)
        self._distance = float(distance)
        return task_part(self._distance)

    def _measure(self) -> float:
        """How far the base's images of the slots are from the new classes' real ones, in the features of the base's D."""
        gan, real_images = self.gan, self.context.real_images
        if real_images is None:
            raise RcasError("RCAS.filters.how: task looks at the new class's images, and there are none at hand; allowed: fixed")
        assert self._checkpoint is not None
        generator, discriminator = base_of(self._checkpoint, self.lineage)
        load_plain(gan.generator, generator)
        load_plain(gan.discriminator, discriminator)
        device, distances = device_of(gan.generator), []
        for slot in sorted(self.context.plan.slots):
            real = real_images(slot, IMAGES).to(device)
            z = gan.latents(len(real), torch.Generator().manual_seed(self.context.seed)).to(device)
            labels = torch.full((len(real),), slot, device=device)
            with torch.no_grad(), frozen_eval(gan.generator, gan.discriminator), LayerFeatures(gan.discriminator) as features:
                distances.append(feature_distance(features(generate(gan.generator, z, labels), slot), features(real, slot)))
        return sum(distances) / len(distances)

    def own(self, role: str) -> frozenset[str]:
        if role == DISCRIMINATOR:
            names = frozenset(name for name, _ in self.gan.discriminator.named_parameters() if plain_name(name) == name)
            return names - self.context.frozen
        copied = self.layers.inputs if self.settings.linear0 == "copy" else ()
        biases = {bias_of(layer.name) for layer in (*self._converted, *copied) if isinstance(layer.module.bias, nn.Parameter)}
        return super().own(role) | biases | {layer.name for layer in copied}

    # training -------------------------------------------------------------------------------------------------------------

    def load(self, gan: Gan, checkpoint: Checkpoint) -> None:
        super().load(gan, checkpoint)
        if self.settings.init == "published":
            for network in (gan.generator, *([] if gan.ema is None else [gan.ema])):
                source = torch.Generator().manual_seed(self.context.seed)  # the average starts as G does
                start(network, attached_filters(network), "published", source)

    def prepare(self, gan: Gan) -> None:
        super().prepare(gan)
        grown, before = growth(gan.generator), "" if self._distance is None else f"distance {self._distance:.3f}; "
        self.context.log(
            f"piggyback: {before}the bank has {grown.bank:,} filters; the task adds {grown.filters:,} "
            f"({grown.filters / grown.bank:.1%}), {grown.filter_parameters:,} parameters with their biases, "
            f"and mixes the others by {grown.mixing_parameters:,}"
        )

    def record(self) -> dict[str, Any]:
        grown = growth(self.gan.generator)
        bank = {
            "filters": grown.bank,
            "added": grown.filters,
            "filter_parameters": grown.filter_parameters,
            "mixing_parameters": grown.mixing_parameters,
        }
        return {**super().record(), "bank": bank}
