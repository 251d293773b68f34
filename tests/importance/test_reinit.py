"""Re-initialisation, spectral norm included."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from rcas_plugin import RcasError, Selection, reinitialize, select_synapses, synapse_importance
from rcas_plugin.importance.reinit import newly_drawn


def selection_of(pair: Any) -> Selection:
    return select_synapses(synapse_importance(*pair, labels=[1], num_samples=8), ratio=0.2)


def test_selected_weights_are_zero_and_nothing_else_changes(pair: Any) -> None:
    selection = selection_of(pair)
    before = [{name: p.clone() for name, p in net.named_parameters()} for net in pair]
    count = reinitialize(list(pair), selection)
    assert count == sum(int(mask.sum()) for masks in selection.masks.values() for mask in masks.values()) > 0
    for net, old, role in zip(pair, before, ("generator", "discriminator"), strict=True):
        for name, parameter in net.named_parameters():
            mask = selection.masks[role].get(name, torch.zeros_like(parameter, dtype=torch.bool))
            assert parameter[mask].abs().sum() == 0
            assert torch.equal(parameter[~mask], old[name][~mask])


def test_the_moving_average_is_edited_by_the_generators_masks(pair: Any) -> None:
    selection, ema = selection_of(pair), copy.deepcopy(pair[0])
    reinitialize(ema, selection)
    assert ema.linear0.weight[selection.generator["linear0.weight"]].abs().sum() == 0


def test_spectral_norm_divides_by_the_norm_of_the_edited_weight(pair: Any) -> None:
    discriminator = pair[1]
    reinitialize(discriminator, selection_of(pair))
    discriminator.eval()
    discriminator(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    for module in discriminator.modules():
        if hasattr(module, "weight_orig") and module.weight_orig.any():
            norm = torch.linalg.matrix_norm(module.weight.detach().double().flatten(1), 2)
            assert float(norm) == pytest.approx(1, abs=1e-3)


def test_spectral_norm_of_transposed_convolutions(odd_pair: Any) -> None:
    generator = odd_pair[0]
    reinitialize(generator, selection_of(odd_pair))
    generator.eval()
    generator(torch.randn(2, 5), torch.tensor([0, 1]))
    matrix = generator.up.weight.detach().double().transpose(0, 1).flatten(1)
    assert float(torch.linalg.matrix_norm(matrix, 2)) == pytest.approx(1, abs=1e-3)


def test_a_weight_that_is_all_zero_stays_finite() -> None:
    torch.manual_seed(0)
    layer = nn.utils.spectral_norm(nn.Linear(3, 2))
    model = nn.Sequential(layer)
    everything = Selection({"generator": {"0.weight_orig": torch.ones(2, 3, dtype=torch.bool)}, "discriminator": {}})
    reinitialize(model, everything)
    assert layer.weight_orig.abs().sum() == 0
    assert layer.weight_u.isfinite().all()


def test_refuses_another_network_before_it_edits_any(pair: Any) -> None:
    selection, other = selection_of(pair), nn.Sequential(nn.Linear(2, 2))
    before = pair[0].linear0.weight.clone()
    with pytest.raises(RcasError, match="was not made for this Sequential"):
        reinitialize([pair[0], other], selection)
    assert torch.equal(pair[0].linear0.weight, before)


def test_refuses_a_value(pair: Any) -> None:
    with pytest.raises(RcasError, match="allowed: zero"):
        reinitialize(pair[0], selection_of(pair), value="one")  # type: ignore[arg-type]


def test_init_draws_by_the_layers_own_initialiser(odd_pair: Any) -> None:
    generator, discriminator = odd_pair
    selection = select_synapses(synapse_importance(*odd_pair, labels=[1], num_samples=4), ratio=0.5)
    twin = copy.deepcopy(generator)
    before = {name: p.clone() for name, p in generator.named_parameters()}
    reinitialize([generator, discriminator, twin], selection, value="init", seed=3)
    names = list(selection.generator)
    for index, name in enumerate(names):
        mask, new = selection.generator[name], generator.get_parameter(name)
        assert torch.equal(new[~mask], before[name][~mask])
        assert torch.equal(new, twin.get_parameter(name)), "G and its moving average get the same values"
        if name == "linear.weight":
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(3 + index)
                drawn = nn.Linear(9, 16).weight
            assert torch.equal(new[mask], drawn[mask])
            assert not torch.equal(new[mask], before[name][mask])


def test_damp_multiplies_by_the_factor(pair: Any) -> None:
    serves, others = (synapse_importance(*pair, labels=labels, num_samples=4) for labels in ([1], [0, 2, 3]))
    selection = select_synapses(serves, scope="threshold", threshold=2.0, against=others, rule="damping", damping=0.5)
    before = pair[0].linear0.weight.detach().clone()
    reinitialize(list(pair), selection, value="damp")
    mask = selection.generator["linear0.weight"]
    assert mask.any()
    ratio = others.generator["linear0.weight"].double() / serves.generator["linear0.weight"].double()
    expected = before.double() * (0.5 * ratio).clamp(max=1)
    torch.testing.assert_close(pair[0].linear0.weight[mask], expected[mask].float(), rtol=1e-5, atol=1e-8)
    assert torch.equal(pair[0].linear0.weight[~mask], before[~mask])


def test_damp_needs_factors(pair: Any) -> None:
    with pytest.raises(RcasError, match="needs factors"):
        reinitialize(pair[0], selection_of(pair), value="damp")


class NoInitialiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))


def test_init_without_an_initialiser() -> None:
    with pytest.raises(RcasError, match="has no initialiser of its own"):
        newly_drawn(NoInitialiser(), 0)
