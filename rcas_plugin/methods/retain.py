"""The `class_swap` loss: the distance of remaining labels' images from the pre-trained generator's (`RCAS.retain`)."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import Gan, generate, is_stylegan, seeded
from rcas_plugin.labels import LabelPlan
from rcas_plugin.weights.accelerate import autocast
from rcas_plugin.weights.adapters import fold_network

#: The pre-trained generator, kept beside the run's checkpoints for a run that goes on.
FILE = "retained.safetensors"


class RetainLoss:
    """`weight * mean |G(z, r) - G_0(z, r)|` over the fakes of a batch that have a remaining label `r`.

    `G_0` is the generator that a user sees, as it is when this is made. The fakes that D has just judged are compared, which
    takes one pass of `G_0` without gradients. Where their latents do not determine them (StyleGAN draws noise and mixes styles)
    or are not known, G makes other images to compare, in a second pass.

    Args:
        gan: the networks before anything is edited.
        plan: which labels remain.
        weight: `RCAS.retain`.
        seed: of the latents of a second pass.
        accelerated: bfloat16 for `G_0` where the processor has it.
    """

    def __init__(self, gan: Gan, plan: LabelPlan, *, weight: float, seed: int = 0, accelerated: bool = False) -> None:
        self.before = copy.deepcopy(gan.evaluated).eval().requires_grad_(False)
        fold_network(self.before)
        self.accelerated = accelerated
        if accelerated:
            self.before.to(memory_format=torch.channels_last)
        self.weight = weight
        self.remaining = torch.tensor(sorted(plan.remaining))
        self.latents = gan.latents
        rank = dist.get_rank() if dist.is_initialized() else 0  # each process draws latents of its own
        self.source = torch.Generator().manual_seed(seed + rank)
        self.noise = torch.Generator().manual_seed(seed + rank)

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
        if latents is not None and fakes is not None and not is_stylegan(self.before):
            images, targets = fakes[remaining], self._wanted(latents[remaining], labels)
        else:
            images, targets = self._pass_of_its_own(gan.generator, labels)
        return self.weight * (images - targets).abs().mean()

    def _wanted(self, z: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad(), autocast(labels.device, self.accelerated):
            images = generate(self.before, z, labels)
        return images.to(torch.promote_types(images.dtype, torch.float32))

    def _pass_of_its_own(self, generator: nn.Module, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images of G and of `G_0` for new latents; both draw the same noise, another one at each step."""
        device = labels.device
        z = self.latents(len(labels), self.source).to(device)
        noise = int(torch.randint(2**62, (), generator=self.noise))
        with seeded(noise, device):
            targets = self._wanted(z, labels)
        with seeded(noise, device):
            return generate(generator, z, labels), targets

    @property
    def random_sources(self) -> dict[str, torch.Generator]:
        """The sources that latents and noise are drawn from, by name."""
        return {"retain.latents": self.source, "retain.noise": self.noise}

    def save(self, folder: Path) -> None:
        """Write `G_0` into the run's folder."""
        with atomic_path(folder / FILE) as temporary:
            save_file({name: value.contiguous() for name, value in self.before.state_dict().items()}, temporary)

    def load(self, folder: Path) -> None:
        """Read `G_0` back.

        Raises:
            RcasError: the file is missing or cut short.
        """
        try:
            self.before.load_state_dict(load_file(folder / FILE))
        except (OSError, SafetensorError):
            raise RcasError(
                f"RCAS.retain: {folder / FILE} is missing or cut short, and the run cannot go on as it was; put it back"
            ) from None
