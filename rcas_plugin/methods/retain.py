"""The `class_swap` loss: the distance of remaining labels' images from the pre-trained generator's (`RCAS.retain`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rcas_plugin.gan import Gan, generate, is_stylegan, seeded
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.pretrained import Pretrained, source_of


class RetainLoss:
    """`weight * mean |G(z, r) - G_0(z, r)|` over the fakes of a batch that have a remaining label `r`.

    `G_0` is the generator that a user sees, as it is when this is made. The fakes that D has just judged are compared, which
    takes one pass of `G_0` without gradients. Where their latents do not determine them (StyleGAN draws noise and mixes styles)
    or are not known, G makes other images to compare, in a second pass.

    Args:
        pretrained: `G_0`.
        plan: which labels remain.
        weight: `RCAS.retain`.
        seed: of the latents of a second pass.
    """

    def __init__(self, pretrained: Pretrained, plan: LabelPlan, *, weight: float, seed: int = 0) -> None:
        self.pretrained, self.weight = pretrained, weight
        self.remaining = torch.tensor(sorted(plan.remaining))
        self.source, self.noise = source_of(seed), source_of(seed)

    def __call__(self, gan: Gan, labels: Tensor, latents: Tensor | None = None, fakes: Tensor | None = None) -> Tensor | None:
        """The term for a batch; None where no label of it remains.

        Args:
            gan: the networks in training.
            labels: (n,) of the batch's fakes.
            latents: (n, z_dim) that G made `fakes` of; None where they are not known.
            fakes: (n, channels, height, width) as they came from G, with their graph.
        """
        remaining = torch.isin(labels, self.remaining.to(labels.device))
        if not remaining.any():
            return None
        labels = labels[remaining]
        if latents is not None and fakes is not None and not is_stylegan(self.pretrained.generator):
            images, targets = fakes[remaining], self.pretrained.images(latents[remaining], labels)
        else:
            images, targets = self._pass_of_its_own(gan.generator, labels)
        return self.weight * (images - targets).abs().mean()

    def _pass_of_its_own(self, generator: nn.Module, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images of G and of `G_0` for new latents; both draw the same noise, another one at each step."""
        device = labels.device
        z = self.pretrained.latents(len(labels), self.source).to(device)
        noise = int(torch.randint(2**62, (), generator=self.noise))
        with seeded(noise, device):
            targets = self.pretrained.images(z, labels)
        with seeded(noise, device):
            return generate(generator, z, labels), targets

    @property
    def random_sources(self) -> dict[str, torch.Generator]:
        """The sources that latents and noise are drawn from, by name."""
        return {"retain.latents": self.source, "retain.noise": self.noise}
