"""The pre-trained generator, kept beside a run's checkpoints: `RCAS.retain` compares with it, replay draws its images."""

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
from rcas_plugin.gan import Gan, generate
from rcas_plugin.weights.accelerate import autocast
from rcas_plugin.weights.adapters import fold_network

#: The file of a run's folder, for a run that goes on.
FILE = "retained.safetensors"


class Pretrained:
    """The generator that a user sees, as it is when this is made; frozen, in evaluation mode.

    Args:
        gan: the networks before anything is edited.
        accelerated: channels-last weights, and bfloat16 where the processor has it.

    Attributes:
        generator: a copy, its adapters folded.
        latents: its latents, as `Gan.latents` draws them.
    """

    def __init__(self, gan: Gan, *, accelerated: bool = False) -> None:
        self.generator = copy.deepcopy(gan.evaluated).eval().requires_grad_(False)
        fold_network(self.generator)
        self.latents, self.accelerated = gan.latents, accelerated
        if accelerated:
            self.generator.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def images(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images (n, channels, height, width) in [-1, 1] of latents (n, z_dim) and labels (n,), on their device."""
        with autocast(labels.device, self.accelerated):
            images = generate(self.generator, z, labels)
        return images.to(torch.promote_types(images.dtype, torch.float32))

    def save(self, folder: Path) -> None:
        """Write the weights into the run's folder."""
        with atomic_path(folder / FILE) as temporary:
            save_file({name: value.contiguous() for name, value in self.generator.state_dict().items()}, temporary)

    def load(self, folder: Path, key: str) -> None:
        """Read the weights back.

        Args:
            folder: of the run.
            key: what needs them, for the sentence.

        Raises:
            RcasError: the file is missing or cut short.
        """
        try:
            self.generator.load_state_dict(load_file(folder / FILE))
        except (OSError, SafetensorError):
            raise RcasError(
                f"{key}: {folder / FILE} is missing or cut short, and the run cannot go on as it was; put it back"
            ) from None


def source_of(seed: int) -> torch.Generator:
    """A source of randomness on the CPU: each process of a distributed run has draws of its own."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    return torch.Generator().manual_seed(seed + rank)
