"""The `class_swap` loss: keep the remaining labels' images where the pre-trained generator has them (`RCAS.retain`)."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import Gan, generate, seeded
from rcas_plugin.labels import LabelPlan
from rcas_plugin.weights.accelerate import autocast
from rcas_plugin.weights.adapters import fold_network

#: The pre-trained generator, kept beside the run's checkpoints for a run that goes on.
FILE = "retained.safetensors"


class RetainLoss:
    """`weight * mean |G(z, r) - G_0(z, r)|` over one latent for each fake of the batch that has a remaining label `r`.

    `G_0` is the generator that a user sees, as it is when this is made. The whole batch counts: on a quarter of it, with batch
    norm's running statistics, the remaining classes drifted as without it (docs/results/README.md).

    Args:
        gan: the networks before anything is edited.
        plan: which labels remain.
        weight: `RCAS.retain`.
        seed: of the latents.
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

    def __call__(self, gan: Gan, fake_labels: Tensor) -> Tensor | None:
        """The term for a batch of fakes of these labels (n,); None where none of them remains."""
        device = fake_labels.device
        labels = fake_labels[torch.isin(fake_labels, self.remaining.to(device))]
        if len(labels) == 0:
            return None
        z = self.latents(len(labels), self.source).to(device)
        noise = int(torch.randint(2**62, (), generator=self.noise))  # another one a step, but the same for both
        with torch.no_grad(), autocast(device, self.accelerated), seeded(noise, device):
            wanted = generate(self.before, z, labels).float()
        with seeded(noise, device):
            images = generate(gan.generator, z, labels)
        return self.weight * (images - wanted).abs().mean()

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
