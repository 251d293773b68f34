"""Importance against a plain loop of one backward pass a sample, in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin import RcasError, synapse_importance
from rcas_plugin.gan import gaussian_latents
from rcas_plugin.registry import objectives

#: The estimators' formulas over one gradient a sample, (n, ...), word for word.
FORMULAS = {
    "per_sample": lambda each: each.abs().mean(0),
    "fisher": lambda each: each.square().mean(0),
    "batch": lambda each: each.mean(0).abs(),
    "output_norm": lambda each: each.abs().mean(0),
}


def loop_by_hand(
    generator: nn.Module, discriminator: nn.Module, labels: list[int], samples: int, seed: int, estimator: str = "per_sample"
) -> dict[str, Tensor]:
    """The definition: one backward pass a sample, by autograd and float64."""
    generator, discriminator = copy.deepcopy(generator).double().eval(), copy.deepcopy(discriminator).double().eval()
    z = gaussian_latents(generator.z_dim)(samples, torch.Generator().manual_seed(seed)).double()
    parameters = {f"{role}/{name}": p for role, net in (("generator", generator), ("discriminator", discriminator))
                  for name, p in net.named_parameters()}  # fmt: skip
    each: dict[str, list[Tensor]] = {name: [] for name in parameters}
    for k in range(samples):
        label = torch.tensor([labels[k % len(labels)]])
        for p in parameters.values():
            p.grad = None
        logit = discriminator(generator(z[k : k + 1], label), label)["adv_output"].reshape(-1)
        logit = logit if len(logit) == 1 else logit[label]
        (logit**2 if estimator == "output_norm" else logit).backward()
        for name, p in parameters.items():
            each[name].append(torch.zeros_like(p) if p.grad is None else p.grad.clone())
    return {name: FORMULAS[estimator](torch.stack(gradients)) for name, gradients in each.items()}


def assert_equal_to_loop(pair: tuple[Any, Any], labels: list[int], **options: Any) -> None:
    expected = loop_by_hand(*pair, labels, 11, seed=3, estimator=options.get("estimator", "per_sample"))
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


@pytest.mark.parametrize("estimator", ["fisher", "batch", "output_norm"])
def test_every_estimator_equals_its_formula(pair: Any, odd_pair: Any, estimator: str) -> None:
    assert_equal_to_loop(pair, [2], estimator=estimator)
    assert_equal_to_loop(odd_pair, [1], estimator=estimator)


def test_both_ways_of_a_convolution_are_one(odd_pair: Any) -> None:
    """Samples as groups (CPU) and the unfolded matrix product (GPU)."""
    from rcas_plugin.importance.per_sample import _grouped, _unfolded

    for module, size in ((odd_pair[0].up, 5), (odd_pair[0].up2, 4), (odd_pair[0].same, 6), (odd_pair[1].down, 7)):
        weight = module._parameters.get("weight_orig", module._parameters.get("weight"))
        inputs = torch.randn(3, module.in_channels, size, size)
        gradient = torch.randn_like(module(inputs))
        one, other = (way(module, weight, inputs, gradient)[0] for way in (_grouped, _unfolded))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_sampling_ends_when_the_caller_says_so(pair: Any) -> None:
    looks: list[int] = []

    def stop(importance: Any) -> bool:
        looks.append(importance.settings["samples"])
        return len(looks) == 2

    found = synapse_importance(*pair, labels=[1], num_samples=500, stop=stop)
    assert looks == [64, 128]
    assert found.settings["samples"] == 128
    whole = synapse_importance(*pair, labels=[1], num_samples=500)
    assert whole.settings["samples"] == 500
    same = synapse_importance(*pair, labels=[1], num_samples=100, stop=lambda importance: False)
    assert same.settings["samples"] == 100


def test_objectives_by_name() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    outputs = {"adv_output": torch.tensor([4.0, 5.0]), "cls_output": logits, "h": torch.tensor([[3.0, 4.0], [1.0, 2.0]])}
    labels = torch.tensor([1, 2])
    assert objectives["adv_output"](outputs, labels).tolist() == [4, 5]
    assert objectives["class_logit"](outputs, labels).tolist() == [2, 3]
    torch.testing.assert_close(objectives["class_probability"](outputs, labels)[0], logits[0].exp()[1] / logits[0].exp().sum())
    assert objectives["feature_norm"](outputs, labels).tolist() == [25, 5]
    hinge = {"adv_output": logits, "cls_output": None}
    assert objectives["class_logit"](hinge, labels).tolist() == [2, 3]
    with pytest.raises(RcasError, match="there is no class logit"):
        objectives["class_logit"]({"adv_output": torch.zeros(2), "cls_output": None}, labels)


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
    from rcas_plugin.weights import synapses

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


@pytest.mark.parametrize("wrong", [{"labels": []}, {"labels": [0], "num_samples": 0}, {"labels": [0], "objective": "logit"},
                                   {"labels": [0], "estimator": "ewc"}])  # fmt: skip
def test_refuses(pair: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(RcasError):
        synapse_importance(*pair, **wrong)
