"""Label-bound parameters: found by what reaches a layer, and stepped by a multiplier of their own."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from rcas_plugin.gan import Gan, gaussian_latents, generate
from rcas_plugin.methods.label_start import start_at_mean
from rcas_plugin.weights.label_bound import find_label_bound, scale_updates, warm_down


def test_columns_of_a_one_hot_label_and_rows_of_an_embedding(pair: Any) -> None:
    found = find_label_bound(Gan(*pair, None, gaussian_latents(6)), 4)
    expected = {(f"blocks.{block}.0.{norm}.{part}.weight", 1)
                for block in range(3) for norm in ("bn1", "bn2") for part in ("gain", "bias")}  # fmt: skip
    assert {(one.name, one.dim) for one in found if one.role == "generator"} == expected
    assert [(one.name, one.dim) for one in found if one.role == "discriminator"] == [("embedding.weight_orig", 0)]
    assert all(not module._forward_pre_hooks for module in pair[0].modules())


def test_a_shared_embedding(odd_pair: Any) -> None:
    found = find_label_bound(Gan(*odd_pair, None, gaussian_latents(5)), 3)
    assert [(one.role, one.name, one.dim) for one in found] == [("generator", "shared.weight", 0)]


def test_changing_them_leaves_every_other_label_as_it_was(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    gan.generator.eval()
    z, labels = torch.randn(4, 6), torch.arange(4)
    before = generate(gan.generator, z, labels)
    with torch.no_grad():
        for bound in find_label_bound(gan, 4):
            bound.of(2).fill_(0.3)
    after = generate(gan.generator, z, labels)
    assert torch.equal(after[[0, 1, 3]], before[[0, 1, 3]])
    assert not torch.equal(after[2], before[2])


def test_the_slots_step_is_k_times_adams_and_nothing_else_differs(pair: Any) -> None:
    plain, scaled = (Gan(copy.deepcopy(pair[0]), pair[1], None, gaussian_latents(6)) for _ in range(2))
    bound = find_label_bound(scaled, 4)
    optimizers = [torch.optim.Adam(gan.generator.parameters(), 1e-3) for gan in (plain, scaled)]
    factors = iter([50.0, 10.0])
    columns = [one.of(2).detach() for one in bound if one.role == "generator"]
    scale_updates(optimizers[1], columns, lambda: next(factors))
    for factor in (50.0, 10.0):
        scaled.generator.load_state_dict(plain.generator.state_dict())
        start = copy.deepcopy(plain.generator)
        for gan, optimizer in zip((plain, scaled), optimizers, strict=True):
            optimizer.zero_grad()
            gan.generator(torch.linspace(-1, 1, 24).view(4, 6), torch.arange(4)).square().mean().backward()
            optimizer.step()
        for name, parameter in scaled.generator.named_parameters():
            old, one = start.get_parameter(name), plain.generator.get_parameter(name)
            if any(name == label_bound.name for label_bound in bound):
                expected = old[:, 2] + factor * (one[:, 2] - old[:, 2])
                torch.testing.assert_close(parameter[:, 2], expected, rtol=1e-4, atol=1e-6)
                assert torch.equal(parameter[:, [0, 1, 3]], one[:, [0, 1, 3]])
            else:
                assert torch.equal(parameter, one)


@pytest.mark.parametrize(("step", "expected"), [(0, 100.0), (50, 50.5), (100, 1.0), (500, 1.0)])
def test_warm_down(step: int, expected: float) -> None:
    assert math.isclose(warm_down(100.0, 100, step), expected)


class Coded(torch.nn.Module):
    """A generator whose layer takes other features before or behind the one-hot label, as InfoGAN's codes come."""

    def __init__(self, parts: str) -> None:
        super().__init__()
        self.parts, self.layer = parts, torch.nn.Linear(6 * parts.count("z") + 4, 3 * 32 * 32, bias=False)

    def forward(self, z: torch.Tensor, label: torch.Tensor, eval: bool = False) -> torch.Tensor:
        given = {"z": z, "y": torch.nn.functional.one_hot(label, 4).to(z.dtype)}
        images: torch.Tensor = self.layer(torch.cat([given[part] for part in self.parts], 1)).view(-1, 3, 32, 32)
        return images


@pytest.mark.parametrize(("parts", "offset"), [("y", 0), ("zy", 6), ("yz", 0), ("zyz", 6)])
def test_the_label_among_other_features_is_found(parts: str, offset: int, pair: Any) -> None:
    """F4: the one-hot label may stand anywhere in a layer's input."""
    gan = Gan(Coded(parts), pair[1], None, gaussian_latents(6))
    (bound,) = [bound for bound in find_label_bound(gan, 4) if bound.role == "generator"]
    assert (bound.name, bound.dim, bound.offset) == ("layer.weight", 1, offset)
    assert torch.equal(bound.of(2), gan.generator.layer.weight[:, offset + 2])
    assert bound.in_model(copy.deepcopy(gan.generator)).offset == offset
    start_at_mean(gan, 4, [2], [0, 1])
    table = gan.generator.layer.weight
    torch.testing.assert_close(table[:, offset + 2], table[:, offset : offset + 2].mean(1))
