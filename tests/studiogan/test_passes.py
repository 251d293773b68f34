"""What of upstream's passes makes a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rcas_plugin.studiogan.passes import Passes


class Judge(nn.Module):
    def forward(self, images: Tensor, labels: Tensor, adc_fake: bool = False) -> dict[str, Any]:
        return {"adv_output": images.flatten(1).sum(1), "adc": adc_fake}


def watched() -> tuple[Passes, nn.Module, nn.Module]:
    passes, generator, judge = Passes(), nn.Linear(4, 6), Judge()
    passes.watch(generator, None, judge)
    return passes, generator, judge


def test_the_first_of_each_counts_whatever_upstream_adds() -> None:
    passes, generator, judge = watched()
    labels, real_labels = torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0])
    generator(torch.randn(3, 4))  # not in the making of fakes: a canvas
    with passes.generating(training=True):
        generator(torch.randn(3, 4))  # latent optimisation
        z = torch.randn(3, 4)
        fakes = generator(z)
        generator(z + 0.1)  # latent consistency
    judge(fakes, labels)  # latent optimisation, before the update
    passes.fakes_made(fakes, labels, None)
    real = torch.randn(3, 6)
    judge(real, real_labels)
    judge(fakes * 2, labels, adc_fake=True)  # augmented
    judge(real + 1, real_labels)  # consistency
    judge(fakes * 3, labels)
    batch = passes.take(7, generator=False)
    assert batch is not None
    assert batch.step == 7
    assert batch.latents is z
    assert batch.raw_fakes is fakes
    assert batch.real_images is real
    assert torch.equal(batch.fake_images, fakes * 2)
    assert batch.fake_outputs is not None
    assert batch.fake_outputs["adc"] is True
    assert batch.real_outputs is not None
    assert torch.equal(batch.real_outputs["adv_output"], real.sum(1))
    assert passes.take(7, generator=False) is None, "multi-hinge asks twice"


def test_the_generators_turn_has_no_real_images() -> None:
    passes, generator, judge = watched()
    with passes.generating(training=True):
        fakes = generator(torch.randn(2, 4))
    labels = torch.tensor([1, 1])
    passes.fakes_made(fakes, labels, None)
    assert passes.take(0, generator=True) is None, "D has not judged them"
    judge(fakes, labels)
    batch = passes.take(0, generator=True)
    assert batch is not None
    assert batch.real_images is batch.real_labels is batch.real_outputs is None
    assert batch.fake_labels is labels


def test_stylegans_latents_are_those_of_its_styles() -> None:
    passes, mapping, judge = Passes(), nn.Linear(4, 5), Judge()
    passes.watch(nn.Identity(), mapping, judge)
    z = torch.randn(2, 4)
    with passes.generating(training=True):
        styles = mapping(z)
        mapping(torch.randn(2, 4))  # mixed in
    images, labels = torch.randn(2, 3), torch.tensor([0, 1])
    passes.fakes_made(images, labels, styles)
    judge(images, labels)
    batch = passes.take(0, generator=True)
    assert batch is not None
    assert batch.latents is z
