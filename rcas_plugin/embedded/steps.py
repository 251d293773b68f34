"""The steps of training on the embedded networks: StudioGAN's, with the hinge loss or the logistic one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rcas_plugin.adversarial import LOSSES
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan, device_of
from rcas_plugin.methods.base import Batch
from rcas_plugin.methods.replay import ReplayedBatches
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.run.random_state import load_random_state
from rcas_plugin.weights.accelerate import accelerate

#: A step's fakes: their images, labels and latents.
Fakes = tuple[Tensor, Tensor, Tensor]


class Loop:
    """StudioGAN's step: some updates of D, then one of G, then its moving average.

    Args:
        gan: trained in place, on its device.
        images: real images (n, 3, size, size) in [-1, 1]; wherever they are, a batch of them is moved to the networks.
        labels: the label (n,) of each.
        live: the labels that are drawn for fakes, each entry alike (`LabelPlan.drawn`).
        options: the config's OPTIMIZATION section; `g_ema_decay` and `g_ema_start` of MODEL and `adv_loss` of LOSS with it.
        source: draws batches, labels and latents.
        lifecycle: of the swap that is trained, or None for plain training.
        accelerated: channels-last weights and bfloat16 (`RCAS.accelerate`).

    Attributes:
        current: the step to come, from 0.
        total: steps of the whole run.
    """

    def __init__(
        self,
        gan: Gan,
        images: Tensor,
        labels: Tensor,
        live: Tensor,
        options: Mapping[str, Any],
        source: torch.Generator,
        *,
        lifecycle: Lifecycle | None = None,
        accelerated: bool = False,
    ) -> None:
        self.gan, self.images, self.labels, self.live, self.lifecycle = gan, images, labels, live, lifecycle
        self.batch_size, self.source, self.total = options["batch_size"], source, options.get("total_steps", 0)
        self.d_updates = options.get("d_updates_per_step", 1)
        self.ema_decay, self.ema_start = options.get("g_ema_decay", 0.9999), options.get("g_ema_start", 0)
        if accelerated:
            accelerate(gan.generator, gan.discriminator)
        betas = (float(options.get("beta1", 0.5)), float(options.get("beta2", 0.999)))
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        for role, network, rate in ((GENERATOR, gan.generator, "g_lr"), (DISCRIMINATOR, gan.discriminator, "d_lr")):
            self.optimizers[role] = torch.optim.Adam(network.parameters(), options.get(rate, 2e-4), betas, eps=1e-6)
        self.losses = LOSSES[options.get("adv_loss", "hinge")]
        self.current = 0
        if lifecycle is not None:
            self.current = lifecycle.step
            lifecycle.build_optimizers(self.optimizers)

    @property
    def device(self) -> torch.device:
        """Of the networks."""
        return device_of(self.gan.generator)

    @property
    def _replay(self) -> ReplayedBatches | None:
        return None if self.lifecycle is None else self.lifecycle.method.replay

    @property
    def random_sources(self) -> dict[str, torch.Generator]:
        """Every source that a step draws from, by name."""
        of_method = {} if self.lifecycle is None else self.lifecycle.method.random_sources()
        return {"loop": self.source, **of_method}

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint's optimisers, and draw on from where its run was; the weights are loaded already."""
        for network, role in (("G", GENERATOR), ("D", DISCRIMINATOR)):
            self.optimizers[role].load_state_dict(checkpoint.contents[network]["optimizer"])
        if checkpoint.folder is not None:
            random_state = load_random_state(checkpoint.folder, 0, checkpoint.step, self.random_sources)
            if random_state is not None:
                random_state.draw_on(self.device)

    def step(self, step: int) -> None:
        """One step, counted from 0."""
        self.current = step
        self.gan.generator.train()
        self.gan.discriminator.train()
        if self._replay is not None:
            self._replay.begin()
        for _ in range(self.d_updates):
            self.update_discriminator(step)
        self._update_generator(step)
        if self.gan.ema is not None:
            self._average(self.gan.ema, step)
        if self.lifecycle is not None:
            self.lifecycle.step_done(step)
        self.current = step + 1

    def update_discriminator(self, step: int) -> None:
        """One update of D alone, on a batch of real and one of generated images."""
        pick = torch.randint(len(self.images), (self.batch_size,), generator=self.source)
        real, real_labels = self.images[pick].to(self.device), self.labels[pick].to(self.device)
        if self._replay is not None:
            real, real_labels = self._replay(real, real_labels, self.device)
        with torch.no_grad():
            fake, fake_labels, latents = self._fakes()
        judge = self.gan.discriminator
        of_real, of_fake = judge(real, real_labels), judge(fake, fake_labels)
        loss = self.losses.discriminator(of_real["adv_output"], of_fake["adv_output"])
        self._update(DISCRIMINATOR, loss, Batch(step, fake, fake_labels, real, real_labels, latents, fake, of_fake, of_real))

    def _update_generator(self, step: int) -> None:
        fake, fake_labels, latents = self._fakes()
        outputs = self.gan.discriminator(fake, fake_labels)
        loss = self.losses.generator(outputs["adv_output"])
        self._update(GENERATOR, loss, Batch(step, fake, fake_labels, latents=latents, raw_fakes=fake, fake_outputs=outputs))

    def _fakes(self) -> Fakes:
        labels = self.live[torch.randint(len(self.live), (self.batch_size,), generator=self.source)].to(self.device)
        latents = self.gan.latents(self.batch_size, self.source).to(self.device)
        if self.lifecycle is not None:
            latents, labels = self.lifecycle.method.fakes_of(latents, labels)
        return self.gan.generator(latents, labels), labels, latents

    def _update(self, role: str, loss: Tensor, batch: Batch) -> None:
        term = None if self.lifecycle is None else self.lifecycle.term(role, batch)
        optimizer = self.optimizers[role]
        optimizer.zero_grad()
        (loss if term is None else loss + term).backward()
        optimizer.step()

    @torch.no_grad()
    def _average(self, average: torch.nn.Module, step: int) -> None:
        """G's moving average as upstream's `utils/ema.py` has it: parameters and buffers, counters as they are."""
        decay = 0.0 if step < self.ema_start else self.ema_decay
        pairs = [*zip(average.parameters(), self.gan.generator.parameters(), strict=True),
                 *zip(average.buffers(), self.gan.generator.buffers(), strict=True)]  # fmt: skip

        def update() -> None:
            for mean, value in pairs:
                mean.copy_(value.lerp(mean, decay) if value.is_floating_point() else value)

        if self.lifecycle is None:
            update()
        else:
            with self.lifecycle.averaging():
                update()
