"""Batches of generated images: always the same ones, whatever else is asked for beside them.

The images of a label come in batches of a fixed size. A batch has a seed of its own, is generated whole, and is computed by one
thread, so that an image depends on checkpoint, label, seed, truncation and its number, and on neither the number of images nor
that of processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, as_taken, device_of, frozen_eval, is_stylegan, seeded
from rcas_plugin.sampling.run import OpenRun

#: The most images of a batch, and the most pixels.
_IMAGES, _PIXELS = 64, 512 * 512


def batch_size(size: int) -> int:
    """Images of a batch, by their size in pixels: 64 up to 64x64, then fewer."""
    return max(1, min(_IMAGES, _PIXELS // (size * size)))


def batch_seed(seed: int, label: int, batch: int) -> int:
    """The seed of a batch: 32 bits that tell it from the batches of other labels and other seeds."""
    return int(np.random.SeedSequence((seed, label, batch)).generate_state(1)[0])


def truncated(z: Tensor, threshold: float) -> Tensor:
    """Standard normal numbers moved to where a normal distribution that is cut off at +-threshold has them.

    StudioGAN draws such latents for `--truncation_factor` (`src/utils/sample.py`, truncated_normal). Moved and not drawn anew,
    the same seed gives the same image, nearer to the average one. Any shape; computed in float64.
    """
    normal = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    low, high = normal.cdf(torch.tensor([-threshold, threshold], dtype=torch.float64))
    moved = normal.icdf(low + (high - low) * normal.cdf(z.double()))
    return moved.clamp(-threshold, threshold).to(z.dtype)


def check_truncation(opened: OpenRun, truncation: float | None) -> None:
    """Raise `RcasError` where a generator's latents cannot be truncated so."""
    if truncation is None:
        return
    if is_stylegan(opened.gan.evaluated):
        if not 0 <= truncation <= 1:
            raise RcasError(f"--truncation is {truncation:g}; allowed for StyleGAN: 0 (the average image) to 1 (as it is)")
    elif opened.config.get("MODEL", {}).get("z_prior", "gaussian") != "gaussian":
        raise RcasError("--truncation: this config's latents are uniform, and gaussian ones are truncated; leave it out")
    elif not truncation > 0:
        raise RcasError(f"--truncation is {truncation:g}; allowed: over 0; 2 cuts little off, 0.5 much")


@torch.no_grad()
def generate_batch(
    gan: Gan, generator: nn.Module, label: int, count: int, seed: int, *, z_dim: int, truncation: float | None = None
) -> Tensor:
    """Images (count, channels, height, width) of one label, in [-1, 1], on the CPU.

    Args:
        gan: draws the latents.
        generator: makes the images.
        label: of all of them.
        count: of the images.
        seed: of the latents, and of StyleGAN's noise.
        z_dim: numbers of a latent that come from the prior; InfoGAN's codes stand behind them.
        truncation: of the latents, or of StyleGAN's styles; None for none.
    """
    device, style = device_of(generator), is_stylegan(generator)
    z = gan.latents(count, torch.Generator().manual_seed(seed))
    if truncation is not None and not style:
        z[:, :z_dim] = truncated(z[:, :z_dim], truncation)
    options = {"truncation_psi": truncation} if truncation is not None and style else {}
    labels = as_taken(generator, torch.full((count,), label, device=device))
    with frozen_eval(generator), seeded(seed, device), one_thread():
        images: Tensor = generator(z.to(device), labels, eval=True, **options)
        return images.float().cpu()


def pictures(images: Tensor, *, gray: bool, size: int | None = None) -> list[Image.Image]:
    """Pictures of 8 bits of images (n, 3, height, width) in [-1, 1].

    Args:
        images: of the generator.
        gray: one channel, the mean of the three.
        size: pixels of an edge, by Lanczos; None for the generator's own.
    """
    channels = images.mean(1, keepdim=True) if gray else images
    levels = ((channels + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    made = [Image.fromarray(_plain(one)) for one in levels]
    if size is None:
        return made
    return [picture.resize((size, size), Image.Resampling.LANCZOS) for picture in made]


def _plain(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return levels[:, :, 0] if levels.shape[2] == 1 else levels


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread inside the block: sums then have one order on any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
