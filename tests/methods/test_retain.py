"""The retain loss against computations by hand in float64, and what it costs in a step."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from rcas_plugin import Batch, Context
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.class_swap.method import ClassSwap
from rcas_plugin.methods.pretrained import Pretrained
from rcas_plugin.methods.retain import RetainLoss
from rcas_plugin.settings import parse_settings

from ..shared import begin

PLAN = LabelPlan(4, {3: 0}, {1: 1, 2: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))
LABELS = torch.tensor([3, 1, 2, 3, 2])  # 3 is the slot


@pytest.fixture
def gan(pair: Any) -> Gan:
    return Gan(pair[0].double(), pair[1].double(), None, lambda n, source: torch.randn(n, 6, generator=source).double())


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(3)).double()


def moved(gan: Gan) -> None:
    """Train the generator a little, so that its images are others."""
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)), alpha=0.05)


def test_the_fakes_of_the_step_are_compared(gan: Gan, latents: Tensor) -> None:
    """By hand: G's images of the whole batch, G_0's of the remaining part, and nothing but that one pass."""
    pretrained = copy.deepcopy(gan.generator).eval()
    loss = RetainLoss(Pretrained(gan), PLAN, weight=0.5)
    moved(gan)
    gan.generator.train()
    fakes = gan.generator(latents, LABELS)
    fakes.retain_grad()
    buffers, streams = copy.deepcopy(dict(gan.generator.named_buffers())), (torch.get_rng_state(), loss.source.get_state())
    term = loss(gan, LABELS, latents, fakes)
    assert term is not None
    rows = [1, 2, 4]
    difference = fakes[rows] - pretrained(latents[rows], LABELS[rows])
    by_hand = 0.5 * difference.abs().sum() / (3 * 3 * 32 * 32)
    torch.testing.assert_close(term, by_hand, rtol=1e-12, atol=0)
    assert float(term.detach()) > 0.01, "a changed generator has a loss"
    term.backward()  # type: ignore[no-untyped-call]
    wanted = torch.zeros_like(fakes)
    wanted[rows] = 0.5 * difference.detach().sign() / (3 * 3 * 32 * 32)
    torch.testing.assert_close(fakes.grad, wanted, rtol=1e-12, atol=0)
    assert all(parameter.grad is None for parameter in loss.pretrained.generator.parameters())
    assert gan.generator.conv2d5.weight.grad.abs().sum() > 0, "G learns from it"  # type: ignore[union-attr, operator]
    assert all(torch.equal(value, buffers[name]) for name, value in gan.generator.named_buffers()), "no second pass of G"
    assert torch.equal(streams[0], torch.get_rng_state())
    assert torch.equal(streams[1], loss.source.get_state())


@pytest.mark.parametrize("known", ["nothing", "latents", "fakes"])
def test_a_second_pass_where_latents_or_fakes_are_not_known(gan: Gan, latents: Tensor, known: str) -> None:
    pretrained = copy.deepcopy(gan.generator).eval()
    loss = RetainLoss(Pretrained(gan), PLAN, weight=2.0, seed=7)
    moved(gan)
    gan.generator.eval()
    fakes = torch.zeros(5, 3, 32, 32).double()
    term = loss(gan, LABELS, latents if known == "latents" else None, fakes if known == "fakes" else None)
    kept = torch.tensor([1, 2, 2])
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(7)).double()
    by_hand = 2 * (gan.generator(z, kept) - pretrained(z, kept)).abs().mean()
    torch.testing.assert_close(term, by_hand, rtol=1e-12, atol=0)
    assert by_hand > 0.01


def test_a_batch_of_the_slot_alone_has_no_term(gan: Gan, latents: Tensor) -> None:
    loss = RetainLoss(Pretrained(gan), PLAN, weight=1.0)
    labels = torch.full((5,), 3)
    assert loss(gan, labels, latents, gan.generator(latents, labels)) is None
    assert loss(gan, labels) is None


class Watched(ClassSwap):
    """Keeps the batches of both turns, and what G makes of the generator's."""

    def generator_loss(self, batch: Batch) -> Tensor | None:
        assert batch.latents is not None
        assert batch.raw_fakes is not None
        assert batch.raw_fakes.requires_grad
        network = copy.deepcopy(self.gan.generator)
        torch.testing.assert_close(network(batch.latents, batch.fake_labels), batch.raw_fakes, rtol=1e-4, atol=1e-5)
        return super().generator_loss(batch)

    def discriminator_loss(self, batch: Batch) -> Tensor | None:
        assert batch.latents is not None
        assert batch.raw_fakes is batch.fake_images
        assert not batch.raw_fakes.requires_grad
        return super().discriminator_loss(batch)


@pytest.mark.parametrize("method", [Watched, ClassSwap])
def test_a_step_has_one_pass_of_g_a_turn(pair: Any, squares: Tensor, method: type[ClassSwap]) -> None:
    """The loop hands over what G made of which latents, and the loss moves the remaining labels back."""
    networks = Gan(*pair, None, gaussian_latents(6))
    settings = parse_settings({"swap": {3: 0}, "label_start": {"how": "keep"}, "retain": 1e4})
    at_work = method(Context(settings, PLAN, seed=1, log=lambda line: None))
    lifecycle = begin(at_work, networks)
    passes: list[int] = []
    labels = torch.arange(len(squares)) % 4
    options = {"batch_size": 8, "g_lr": 1e-3, "d_lr": 1e-3}
    source = torch.Generator().manual_seed(0)
    loop = Loop(networks, squares, labels, torch.arange(1, 4), options, source, lifecycle=lifecycle)
    moved(networks)
    z, kept = torch.randn(8, 6, generator=torch.Generator().manual_seed(5)), torch.tensor([1, 2] * 4)
    assert at_work.retained is not None
    wanted = at_work.retained.pretrained.generator(z, kept)

    def distance() -> float:
        with torch.no_grad():
            return float((copy.deepcopy(networks.generator).train()(z, kept) - wanted).abs().mean())

    before = distance()
    hook = networks.generator.register_forward_hook(lambda module, args, output: passes.append(len(output)))
    for step in range(20):
        loop.step(step)
    hook.remove()
    assert passes == [8] * (40 if method is ClassSwap else 60), "the watching method looks once more a step"
    assert distance() < 0.8 * before
