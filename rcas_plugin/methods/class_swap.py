"""Class swap: re-initialise the weights that serve the old class, then fine-tune (RCAS)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from rcas_plugin.gan import Gan, generate
from rcas_plugin.importance import DISCRIMINATOR, GENERATOR
from rcas_plugin.methods.base import Batch, Context, Method
from rcas_plugin.registry import callbacks, losses
from rcas_plugin.reinit import reinitialize
from rcas_plugin.selection import select_synapses


class ClassSwap(Method):
    """Importance of the old classes -> selection -> re-initialisation; training itself is upstream's."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._gan: Gan | None = None
        self._retained: RetainLoss | None = None

    def prepare(self, gan: Gan) -> None:
        settings, plan = self.context.settings, self.context.plan
        self._keep(gan)
        importance = callbacks["synapse_importance"](
            gan.generator,
            gan.discriminator,
            labels=sorted(plan.slots),
            num_samples=settings.importance.samples,
            objective=settings.importance.objective,
            latents=gan.latents,
            kinds=settings.selection.kinds,
            seed=self.context.seed,
            memory_mb=settings.importance.memory_mb,
        )
        selection = select_synapses(
            importance,
            ratio={
                GENERATOR: settings.selection.generator_ratio,
                DISCRIMINATOR: settings.selection.discriminator_ratio,
            },
            scope=settings.selection.scope,
            kinds=settings.selection.kinds,
        )
        models = [gan.generator, gan.discriminator, *([gan.ema] if gan.ema is not None else [])]
        reinitialize(models, selection, value=settings.reinit)
        if self.context.directory is not None:
            selection.save(self.context.directory / "selection.safetensors")
        self.context.log(
            f"class_swap: set {selection.fraction(GENERATOR):.1%} of G's and {selection.fraction(DISCRIMINATOR):.1%} "
            f"of D's weights to {settings.reinit}, by their importance for "
            + ", ".join(f"label {label}" for label in sorted(plan.slots))
        )

    def restore(self, gan: Gan) -> None:
        self._keep(gan)

    def generator_loss(self, batch: Batch) -> Tensor | None:
        if self._retained is None or self._gan is None:
            return None
        return self._retained(self._gan, batch)

    def _keep(self, gan: Gan) -> None:
        self._gan = gan
        if self.context.settings.retain > 0:
            self._retained = losses["class_swap"](gan, self.context)


class RetainLoss:
    """The `class_swap` loss: keep the remaining labels' images where the pre-trained generator has them.

    `retain * mean |G(z, r) - G_0(z, r)|` over one latent for each fake of the batch that has a remaining label `r`; `G_0` is the
    generator as it was loaded, before the re-initialisation. Off at `RCAS.retain: 0`.
    """

    def __init__(self, gan: Gan, context: Context) -> None:
        self.before = copy.deepcopy(gan.evaluated).eval().requires_grad_(False)
        self.weight = context.settings.retain
        self.remaining = torch.tensor(sorted(context.plan.remaining))
        self.latents = gan.latents
        self.source = torch.Generator().manual_seed(context.seed)

    def __call__(self, gan: Gan, batch: Batch) -> Tensor | None:
        device = batch.fake_labels.device
        labels = batch.fake_labels[torch.isin(batch.fake_labels, self.remaining.to(device))]
        if len(labels) == 0:
            return None
        z = self.latents(len(labels), self.source).to(device)
        with torch.no_grad():
            wanted = generate(self.before, z, labels)
        return self.weight * (generate(gan.generator, z, labels) - wanted).abs().mean()
