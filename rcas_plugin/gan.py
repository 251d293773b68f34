"""A conditional GAN in StudioGAN's calling convention, as the methods see it.

`G(z, labels, eval=…)` makes images in [-1, 1]; `D(images, labels, eval=…)` returns a dictionary whose `adv_output` is the
real/fake logit. Every upstream backbone follows it, but for StyleGAN's generators, which take the label one-hot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: The roles of the two trained networks.
GENERATOR, DISCRIMINATOR = "generator", "discriminator"
#: (number of latents, random source on the CPU) -> latents on the CPU, (n, z_dim).
Latents = Callable[[int, torch.Generator], Tensor]


def gaussian_latents(z_dim: int) -> Latents:
    """Standard normal latents; drawn on the CPU, so that every device gets the same ones."""
    return lambda n, source: torch.randn(n, z_dim, generator=source)


@dataclass
class Gan:
    """The networks of one run.

    Attributes:
        generator: G, trained.
        discriminator: D, trained.
        ema: the moving average of G that upstream evaluates, or None.
        latents: draws latents as the run's config says (prior, dimension).
    """

    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module | None
    latents: Latents

    @property
    def networks(self) -> dict[str, nn.Module]:
        """`generator`, `discriminator` and, where there is one, `ema`."""
        both = {"generator": self.generator, "discriminator": self.discriminator}
        return both if self.ema is None else {**both, "ema": self.ema}

    @property
    def evaluated(self) -> nn.Module:
        """The generator whose images a user sees."""
        return self.generator if self.ema is None else self.ema

    def to(self, device: torch.device) -> Gan:
        """Move every network to a device; returns this."""
        for network in self.networks.values():
            network.to(device)
        return self


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def default_device() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def is_stylegan(generator: nn.Module) -> bool:
    """True where G is one of StyleGAN's: these take the label one-hot, draw noise in each pass, and mix styles in training."""
    return hasattr(generator, "mapping") and hasattr(generator, "c_dim")


def as_taken(generator: nn.Module, labels: Tensor) -> Tensor:
    """Integer labels (n,) as the generator takes them: StyleGAN one-hot, (n, labels), every other as they are."""
    if is_stylegan(generator):
        return F.one_hot(labels, cast(int, generator.c_dim))
    return labels


def generate(generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
    """Images of G for latents (n, z_dim) and integer labels (n,): (n, channels, height, width), in [-1, 1]."""
    return cast(Tensor, generator(z, as_taken(generator, labels), eval=True))


#: Layers that take statistics over groups of images, by type: the attribute that holds the size of a group.
_GROUP_SIZES: dict[type[nn.Module], str] = {}


def register_minibatch_layer(module_type: type[nn.Module], group_size: str) -> None:
    """Register a layer type of D that takes statistics over groups of images.

    It takes any number of images up to a group, and whole groups of more.

    Args:
        module_type: of the layer.
        group_size: its attribute with the size of a group; None there means all images at once.
    """
    _GROUP_SIZES[module_type] = group_size


def part_sizes(discriminator: nn.Module, count: int) -> list[int]:
    """The sizes of the parts in which D takes `count` images: one part, or several where D has minibatch statistics."""
    groups = {
        getattr(module, name)
        for module in discriminator.modules()
        for module_type, name in _GROUP_SIZES.items()
        if isinstance(module, module_type)
    } - {None}
    sizes: list[int] = []
    rest = count
    while rest:
        sizes.append(next(size for size in range(rest, 0, -1) if all(size % min(group, size) == 0 for group in groups)))
        rest -= sizes[-1]
    return sizes


def discriminate(discriminator: nn.Module, images: Tensor, labels: Tensor) -> Mapping[str, Any]:
    """D's dictionary of outputs for images (n, channels, height, width) and integer labels (n,).

    Any number of images: they go through in `part_sizes`, and each tensor has n rows.
    """
    sizes = part_sizes(discriminator, len(images))
    parts = [_outputs(discriminator, *part) for part in zip(images.split(sizes), labels.split(sizes), strict=True)]
    if len(parts) == 1:
        return parts[0]
    return {
        key: torch.cat([part[key] for part in parts]) if isinstance(value, Tensor) else value for key, value in parts[0].items()
    }


def _outputs(discriminator: nn.Module, images: Tensor, labels: Tensor) -> Mapping[str, Any]:
    """D's outputs of one pass; a single image goes through twice, as upstream squeezes its logits and loses a batch of one."""
    if len(images) > 1:
        return cast("Mapping[str, Any]", discriminator(images, labels, eval=True))
    outputs = discriminator(torch.cat([images, images]), torch.cat([labels, labels]), eval=True)
    return {key: value[:1] if isinstance(value, Tensor) and value.dim() else value for key, value in outputs.items()}


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's random streams on the CPU and on `device` inside the block; after it, they go on as if it had not been.

    StyleGAN2 draws noise in each pass: two passes see the same noise where both start from the same seed.
    """
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def frozen_eval(*models: nn.Module) -> Iterator[None]:
    """Put models into evaluation mode, without gradients for their parameters, inside the block; restore both after it."""
    training = [(module, module.training) for model in models for module in model.modules()]
    gradient = [(parameter, parameter.requires_grad) for model in models for parameter in model.parameters()]
    try:
        for model in models:
            model.eval().requires_grad_(False)
        yield
    finally:
        for module, mode in training:
            module.training = mode
        for parameter, requires_grad in gradient:
            parameter.requires_grad_(requires_grad)


@torch.no_grad()
def sample_images(generator: nn.Module, labels: Tensor, latents: Latents, *, seed: int = 0, batch_size: int = 256) -> Tensor:
    """Images on the CPU, one for each of `labels` (n,); the same seed gives the same latents and noise for any generator."""
    device = device_of(generator)
    z = latents(len(labels), torch.Generator().manual_seed(seed))
    with frozen_eval(generator), seeded(seed, device):
        parts = [
            generate(generator, z_part.to(device), y_part.to(device)).float().cpu()
            for z_part, y_part in zip(z.split(batch_size), labels.split(batch_size), strict=True)
        ]
    return torch.cat(parts)
