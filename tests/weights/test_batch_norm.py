"""Batch norm's statistics after re-estimation."""

from __future__ import annotations

import copy
from typing import Any

import torch

from rcas_plugin.gan import gaussian_latents
from rcas_plugin.weights.batch_norm import reestimate_batch_norm


def test_they_are_the_mean_over_batches_of_the_batches_own(pair: Any) -> None:
    generator = pair[0]
    by_hand = copy.deepcopy(generator).double()
    weights = {name: p.clone() for name, p in generator.named_parameters()}
    count = reestimate_batch_norm(generator, [1, 3], gaussian_latents(6), batches=3, batch_size=8, seed=4)
    assert count == 7
    source, inputs = torch.Generator().manual_seed(4), []
    first = by_hand.blocks[0][0].bn1.bn
    first.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    by_hand.train()
    for _ in range(3):
        labels = torch.tensor([1, 3])[torch.randint(2, (8,), generator=source)]
        by_hand(gaussian_latents(6)(8, source).double(), labels)
    means = torch.stack([x.mean((0, 2, 3)) for x in inputs]).mean(0)
    variances = torch.stack([x.var((0, 2, 3), unbiased=True) for x in inputs]).mean(0)
    norm = generator.blocks[0][0].bn1.bn
    torch.testing.assert_close(norm.running_mean.double(), means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var.double(), variances, rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.1
    assert all(torch.equal(p, weights[name]) for name, p in generator.named_parameters())


def test_no_batches_change_nothing(pair: Any) -> None:
    before = copy.deepcopy(pair[0].state_dict())
    assert reestimate_batch_norm(pair[0], [0], gaussian_latents(6), batches=0) == 0
    assert all(torch.equal(value, before[name]) for name, value in pair[0].state_dict().items())
