"""Batch norm's running statistics after an edit of the weights.

The statistics describe the activations before the edit. Right after a re-initialisation they make a network look as if it had
forgotten more than it has, so they are estimated anew before anything is judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from rcas_plugin.gan import Latents, device_of, frozen_eval, generate


@torch.no_grad()
def reestimate_batch_norm(
    generator: nn.Module, labels: Sequence[int], latents: Latents, *, batches: int = 60, batch_size: int = 32, seed: int = 0
) -> int:
    """Replace the running mean and variance of G's batch norms by their averages over `batches` batches, in place.

    Args:
        generator: G, or its moving average.
        labels: drawn evenly for the batches.
        latents: draws z.
        batches: 0 leaves the statistics as they are.
        batch_size: images a batch.
        seed: of latents and labels.

    Returns:
        The number of batch norms; 0 where G has none with running statistics (StyleGAN).
    """
    norms = [module for module in generator.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms or batches < 1:
        return 0
    source, device = torch.Generator().manual_seed(seed), device_of(generator)
    momenta = [norm.momentum for norm in norms]
    with frozen_eval(generator):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over the batches
            norm.train()
        for _ in range(batches):
            drawn = torch.tensor(labels)[torch.randint(len(labels), (batch_size,), generator=source)]
            generate(generator, latents(batch_size, source).to(device), drawn.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return len(norms)
