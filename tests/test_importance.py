"""Importance against a plain loop of one backward pass a sample, in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin import RcasError, synapse_importance
from rcas_plugin.gan import gaussian_latents


def loop_by_hand(generator: nn.Module, discriminator: nn.Module, labels: list[int], samples: int, seed: int) -> dict[str, Tensor]:
    """The definition, word for word: mean over samples of |dD(G(z, f), f)/dw|, by autograd and float64."""
    generator, discriminator = copy.deepcopy(generator).double().eval(), copy.deepcopy(discriminator).double().eval()
    z = gaussian_latents(generator.z_dim)(samples, torch.Generator().manual_seed(seed)).double()
    parameters = {f"{role}/{name}": p for role, net in (("generator", generator), ("discriminator", discriminator))
                  for name, p in net.named_parameters()}  # fmt: skip
    mean = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for k in range(samples):
        label = torch.tensor([labels[k % len(labels)]])
        for p in parameters.values():
            p.grad = None
        logit = discriminator(generator(z[k : k + 1], label), label)["adv_output"].reshape(-1)
        (logit if len(logit) == 1 else logit[label]).backward()
        for name, p in parameters.items():
            if p.grad is not None:
                mean[name] += p.grad.abs() / samples
    return mean


def assert_equal_to_loop(pair: tuple[Any, Any], labels: list[int], **options: Any) -> None:
    expected = loop_by_hand(*pair, labels, 11, seed=3)
    found = synapse_importance(*pair, labels=labels, num_samples=11, seed=3, progress=False, **options)
    names = {f"{role}/{name}" for role, weights in found.weights.items() for name in weights}
    assert names <= set(expected)
    assert len(names) > 5
    for role, weights in found.weights.items():
        for name, value in weights.items():
            by_hand = expected[f"{role}/{name}"]
            scale = by_hand.abs().max().clamp(min=1e-12)
            assert ((value - by_hand).abs().max() / scale) < 1e-4, name


def test_equals_the_loop_on_the_resnet_pair(pair: Any) -> None:
    assert_equal_to_loop(pair, [2])


def test_equals_the_loop_for_several_labels(pair: Any) -> None:
    assert_equal_to_loop(pair, [1, 3])


def test_equals_the_loop_with_transposed_and_shared_layers_under_spectral_norm(odd_pair: Any) -> None:
    assert_equal_to_loop(odd_pair, [2])


def test_equals_the_loop_with_a_batch_of_one(pair: Any) -> None:
    assert_equal_to_loop(pair, [0], memory_mb=1)


class Scaled(nn.Module):
    """A layer of a type of its own: no outer-product identity is known for it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None]


def test_equals_the_loop_with_a_layer_of_ones_own(odd_pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rcas_plugin import synapses

    monkeypatch.setattr(synapses, "_KINDS", dict(synapses._KINDS))
    synapses.register_module_type(Scaled, "conv")
    generator, discriminator = odd_pair
    discriminator.down = nn.Sequential(Scaled(), discriminator.down)
    assert_equal_to_loop((generator, discriminator), [1])
    assert "down.0.weight" in synapse_importance(*odd_pair, labels=[1], num_samples=2).discriminator


def test_covers_every_weight_by_type(pair: Any) -> None:
    found = synapse_importance(*pair, labels=[0], num_samples=2)
    expected = {
        f"{prefix}.{'weight_orig' if hasattr(module, 'weight_orig') else 'weight'}"
        for prefix, module in pair[1].named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding)
    }
    assert set(found.discriminator) == expected
    assert set(synapse_importance(*pair, labels=[0], num_samples=2, kinds=frozenset({"embedding"})).discriminator) == {
        "embedding.weight_orig"
    }


def test_absolute_value_is_inside_the_sum(pair: Any) -> None:
    """The gradient of the batch's sum is another, smaller quantity: a test that a batch-summed estimate would fail."""
    generator, discriminator = (copy.deepcopy(net).eval() for net in pair)
    z = gaussian_latents(6)(32, torch.Generator().manual_seed(0))
    y = torch.full((32,), 1)
    discriminator(generator(z, y), y)["adv_output"].mean().backward()
    exact = synapse_importance(*pair, labels=[1], num_samples=32, seed=0).generator["blocks.1.0.conv2d1.weight"]
    summed = generator.blocks[1][0].conv2d1.weight.grad.abs()
    assert (exact >= summed - 1e-6).all()
    assert exact.sum() > 1.2 * summed.sum()


def test_other_labels_columns_have_no_importance(pair: Any) -> None:
    gain = synapse_importance(*pair, labels=[2], num_samples=4).generator["blocks.0.0.bn1.gain.weight"]
    assert gain[:, 2].max() > 0
    assert gain[:, [0, 1, 3]].abs().max() == 0


def test_networks_are_left_as_they_were(pair: Any) -> None:
    generator, discriminator = pair
    generator.train()
    discriminator.blocks[0].eval()
    next(generator.parameters()).requires_grad_(False)
    before = [copy.deepcopy(net.state_dict()) for net in pair]
    modes = [m.training for net in pair for m in net.modules()]
    wanted = [p.requires_grad for net in pair for p in net.parameters()]
    synapse_importance(generator, discriminator, labels=[0], num_samples=3)
    for net, old in zip(pair, before, strict=True):
        assert all(torch.equal(value, old[name]) for name, value in net.state_dict().items())
    assert modes == [m.training for net in pair for m in net.modules()]
    assert wanted == [p.requires_grad for net in pair for p in net.parameters()]
    assert all(not m._forward_hooks for net in pair for m in net.modules())
    assert all(p.grad is None for net in pair for p in net.parameters())


def test_a_seed_gives_one_result_whatever_the_batch(pair: Any) -> None:
    one = synapse_importance(*pair, labels=[1], num_samples=9, seed=5, memory_mb=1)
    two = synapse_importance(*pair, labels=[1], num_samples=9, seed=5, memory_mb=900)
    for name, value in one.generator.items():
        torch.testing.assert_close(value, two.generator[name], rtol=1e-4, atol=1e-6)
    other = synapse_importance(*pair, labels=[1], num_samples=9, seed=6)
    assert not torch.equal(other.generator["linear0.weight"], one.generator["linear0.weight"])


def test_a_callable_objective(pair: Any) -> None:
    doubled = synapse_importance(*pair, labels=[1], num_samples=3, objective=lambda outputs, labels: 2 * outputs["adv_output"])
    plain = synapse_importance(*pair, labels=[1], num_samples=3)
    torch.testing.assert_close(doubled.generator["linear0.weight"], 2 * plain.generator["linear0.weight"])


@pytest.mark.parametrize("wrong", [{"labels": []}, {"labels": [0], "num_samples": 0}, {"labels": [0], "objective": "logit"}])
def test_refuses(pair: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(RcasError):
        synapse_importance(*pair, **wrong)
