"""The parametrization against the formula by hand, in float64; its checkpoint and its fold."""

from __future__ import annotations

import copy
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from torch import nn

from rcas_plugin.gan import Gan, gaussian_latents, sample_images
from rcas_plugin.methods.bn_propagation.adapter import Propagation, norm_in_state, propagate, propagations
from rcas_plugin.weights.adapters import adapted, fold_network, fold_state, rebuild_adapters, table_of


@hypothesis.given(
    before=st.integers(1, 5), kept=st.integers(0, 4), new=st.integers(1, 4), dim=st.integers(0, 1), seed=st.integers(0, 99)
)
def test_rows_equal_the_formula_by_hand(before: int, kept: int, new: int, dim: int, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    order = [int(torch.randint(before, (1,), generator=source)) for _ in range(kept)] + [before + n for n in range(new)]
    made = Propagation(before, 3, order, dim).double()
    with torch.no_grad():
        made.scores.copy_(torch.randn(new, before, generator=source, dtype=torch.float64))
        made.residual.copy_(torch.randn(new, 3, generator=source, dtype=torch.float64))
    table = torch.randn((before, 3) if dim == 0 else (3, before), generator=source, dtype=torch.float64)
    made.requires_grad_(False)
    rows = made(table)
    rows, old = (rows, table) if dim == 0 else (rows.T, table.T)
    assert rows.shape == (kept + new, 3)
    for label, index in enumerate(order):
        for channel in range(3):
            if index < before:
                by_hand = float(old[index, channel])
            else:
                scores = made.scores[index - before]
                by_hand = sum(float(scores[c]) * float(old[c, channel]) for c in range(before))
                by_hand += float(made.residual[index - before, channel])
            assert float(rows[label, channel]) == pytest.approx(by_hand, abs=1e-12)


def test_a_vector_with_an_entry_a_label() -> None:
    made = Propagation(2, 1, [0, 2, 1], 0)
    assert made(torch.tensor([1.0, 3.0])).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("labels", [4, 6])
def test_spectral_norm_divides_by_the_norm_of_the_new_table(labels: int) -> None:
    torch.manual_seed(0)
    layer = nn.utils.spectral_norm(nn.Embedding(labels, 5))
    table = torch.randn(4, 5)
    model = nn.Sequential(layer)
    propagate(model, "0.weight_orig", table, [0, 1, *range(4, 2 + labels)], 0)
    model.eval()
    found = model(torch.arange(labels))
    rows = torch.cat([table[:2], table.mean(0).expand(labels - 2, 5)])
    torch.testing.assert_close(found, rows / torch.linalg.matrix_norm(rows, 2), rtol=1e-5, atol=1e-6)


def adapt(pair: Any) -> Gan:
    """The shared pair of 4 labels with two of them new in every conditional weight, by lively scores."""
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    for network in gan.networks.values():
        for name, parameter in list(network.named_parameters()):
            if 4 in parameter.shape and parameter.ndim == 2 and ("gain" in name or "bias" in name or "embedding" in name):
                dim = list(parameter.shape).index(4)
                made = propagate(network, name, parameter.detach(), [0, 4, 2, 5], dim)
                nn.init.normal_(made.scores)
                nn.init.normal_(made.residual, std=0.1)
    return gan


def test_a_folded_state_makes_the_same_images_and_logits(pair: Any) -> None:
    fresh = copy.deepcopy(pair)
    gan = adapt(pair)
    assert len(propagations(gan.generator)) == 12
    labels = torch.tensor([0, 1, 2, 3])
    images = sample_images(gan.generator, labels, gan.latents)
    logits = gan.discriminator.eval()(images, labels)["adv_output"]
    state = {name: network.state_dict() for name, network in gan.networks.items()}
    assert set(adapted(state["discriminator"]).values()) == {"bn_propagation"}
    fresh[0].load_state_dict(fold_state(state["generator"]))
    fresh[1].load_state_dict(fold_state(state["discriminator"]))
    torch.testing.assert_close(sample_images(fresh[0], labels, gan.latents), images, rtol=0, atol=1e-6)
    torch.testing.assert_close(fresh[1].eval()(images, labels)["adv_output"], logits, rtol=0, atol=1e-5)
    for network in gan.networks.values():
        fold_network(network)
        assert not adapted(network.state_dict())
    torch.testing.assert_close(sample_images(gan.generator, labels, gan.latents), images, rtol=0, atol=1e-6)


def test_a_copy_is_folded_and_the_original_stays(pair: Any) -> None:
    gan = adapt(pair)
    labels = torch.tensor([0, 1, 2, 3])
    images = sample_images(gan.generator, labels, gan.latents)
    copied = copy.deepcopy(gan.generator)
    fold_network(copied)
    assert not adapted(copied.state_dict())
    assert len(propagations(gan.generator)) == 12
    for network in (gan.generator, copied, copy.deepcopy(gan.generator)):
        torch.testing.assert_close(sample_images(network, labels, gan.latents), images, rtol=0, atol=1e-6)


def test_adapters_are_rebuilt_from_a_checkpoint_alone(pair: Any, tmp_path: Any) -> None:
    fresh = copy.deepcopy(pair)
    gan = adapt(pair)
    torch.save({name: network.state_dict() for name, network in gan.networks.items()}, tmp_path / "states.pth")
    states = torch.load(tmp_path / "states.pth", weights_only=True)
    other = Gan(*fresh, copy.deepcopy(fresh[0]), gaussian_latents(6))
    rebuild_adapters(other, states)
    for name, network in other.networks.items():
        network.load_state_dict(states[name])
        for key, value in network.state_dict().items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, states[name][key]), key
    labels = torch.tensor([0, 1, 2, 3])
    assert torch.equal(sample_images(other.generator, labels, gan.latents), sample_images(gan.generator, labels, gan.latents))


def test_a_plain_state_stays_as_it_is(pair: Any) -> None:
    state = pair[0].state_dict()
    assert adapted(state) == {}
    assert all(fold_state(state)[key] is value for key, value in state.items())


def test_the_table_gets_a_gradient_of_its_own(pair: Any) -> None:
    gan = adapt(pair)
    gan.generator(torch.randn(2, 6), torch.tensor([1, 3])).sum().backward()
    name = next(iter(propagations(gan.generator)))
    table = table_of(gan.generator, name)
    assert table.grad is not None
    assert table.grad.abs().sum() > 0


@pytest.mark.parametrize("dim", [0, 1])
def test_what_is_no_labels_is_passed_through(dim: int) -> None:
    """F4: columns of InfoGAN's codes before and behind the labels' stay as they are, and get no gradient."""
    made = Propagation(2, 3, [1, 2, 0], dim, offset=2).double()
    with torch.no_grad():
        made.scores.copy_(torch.tensor([[0.5, 2.0]]))
        made.residual.copy_(torch.tensor([[1.0, 0.0, -1.0]]))
    rows = torch.randn(5, 3, dtype=torch.float64)  # two of codes, two labels, one of codes
    table = (rows if dim == 0 else rows.T.contiguous()).requires_grad_()
    out = made(table)
    assert out.is_contiguous()
    new = 0.5 * rows[2] + 2 * rows[3] + torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    expected = torch.stack([rows[0], rows[1], rows[3], new, rows[2], rows[4]])
    torch.testing.assert_close(out if dim == 0 else out.T, expected, rtol=0, atol=1e-12)
    assert made.new == [3]
    assert made.carried(torch.arange(5)).tolist() == [0, 1, 3, 0, 2, 4]
    out.sum().backward()
    assert table.grad is not None
    grad = table.grad if dim == 0 else table.grad.T
    assert grad[[0, 1, 4]].abs().sum() == 0
    assert (grad[2:4] != 0).all()


def test_a_checkpoint_without_an_offset_is_rebuilt_and_folded(pair: Any) -> None:
    """F4: adapters written before there was an offset have none in their state, and have their labels at 0."""
    fresh = copy.deepcopy(pair)
    gan = adapt(pair)
    states = {name: copy.deepcopy(network.state_dict()) for name, network in gan.networks.items()}
    for state in states.values():
        for key, value in state.items():
            if key.endswith("_extra_state"):
                del value["offset"]
    other = Gan(*fresh, copy.deepcopy(fresh[0]), gaussian_latents(6))
    rebuild_adapters(other, states)
    for name, network in other.networks.items():
        network.load_state_dict(states[name])
    labels = torch.arange(4)
    assert torch.equal(sample_images(other.generator, labels, gan.latents), sample_images(gan.generator, labels, gan.latents))
    folded, now = fold_state(states["generator"]), fold_state(gan.generator.state_dict())
    assert all(torch.equal(folded[key], now[key]) for key in now)


def test_a_bias_has_not_the_norm_of_its_layers_weight() -> None:
    """F13: a layer of MD's kind has an entry a label in its weight and in its bias; spectral norm is on the weight alone."""
    torch.manual_seed(0)
    before, model = nn.utils.spectral_norm(nn.Linear(5, 4)), nn.Sequential(nn.utils.spectral_norm(nn.Linear(5, 5)))
    before(torch.randn(2, 5))
    state = {f"0.{name}": value.detach().clone() for name, value in before.state_dict().items()}
    for name in ("0.weight_orig", "0.bias"):
        propagate(model, name, state[name], [0, 1, 2, 3, 4], 0, norm=norm_in_state(model, name, state))
    model.eval()
    before.eval()
    x = torch.randn(3, 5)
    found = model(x)
    torch.testing.assert_close(found[:, :4], before(x))
    made = propagations(model)
    assert not torch.equal(found[:, 4], before(x)[:, 3]), "the new label has a row of its own"
    torch.testing.assert_close(made["0.bias"](state["0.bias"])[4], state["0.bias"].mean())
