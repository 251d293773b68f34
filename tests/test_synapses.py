"""Weights are found by module type."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rcas_plugin.synapses import find_synapses, kind_of, register_module_type, spectral_norm_of


def test_found_by_type_whatever_the_name() -> None:
    net = nn.ModuleDict({
        "embedding": nn.Conv2d(1, 1, 1), "conv": nn.Embedding(2, 2), "bn": nn.Linear(1, 1), "linear": nn.BatchNorm2d(2),
        "up": nn.ConvTranspose2d(1, 1, 1), "norm": nn.utils.spectral_norm(nn.Linear(2, 2)),
    })  # fmt: skip
    kinds = {name: synapse.kind for name, synapse in find_synapses(net).items()}
    assert kinds == {"embedding.weight": "conv", "conv.weight": "embedding", "bn.weight": "linear",
                     "up.weight": "conv_transpose", "norm.weight_orig": "linear"}  # fmt: skip


def test_a_shared_weight_is_found_once() -> None:
    one = nn.Linear(2, 2)
    two = nn.Linear(2, 2)
    two.weight = one.weight
    assert list(find_synapses(nn.Sequential(one, two))) == ["0.weight"]


def test_a_subclass_is_of_its_parents_kind() -> None:
    class Mine(nn.Conv2d):
        pass

    assert kind_of(Mine(1, 1, 1)) == "conv"
    assert kind_of(nn.BatchNorm2d(1)) is None


def test_refuses_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match="allowed: conv, conv_transpose, embedding, linear"):
        register_module_type(nn.BatchNorm2d, "norm")


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3), nn.Linear(3, 4), nn.Embedding(5, 3)])
def test_refreshed_vectors_are_the_leading_singular_ones(layer: nn.Module) -> None:
    torch.manual_seed(0)
    module = nn.utils.spectral_norm(layer)
    norm = spectral_norm_of(module)
    assert norm is not None
    with torch.no_grad():
        module.weight_orig.normal_()
    norm.refresh(module.weight_orig)
    largest = torch.linalg.svdvals(norm.matrix(module.weight_orig.detach()).double())[0]
    assert float(norm.sigma(module.weight_orig.detach())) == pytest.approx(float(largest), rel=1e-3)


def test_a_null_space_is_left() -> None:
    module = nn.utils.spectral_norm(nn.Linear(3, 3, bias=False))
    norm = spectral_norm_of(module)
    assert norm is not None
    with torch.no_grad():
        module.weight_orig.copy_(torch.diag(torch.tensor([0.0, 2.0, 0.0])))
        norm.v.copy_(torch.tensor([1.0, 0, 0]))
    norm.refresh(module.weight_orig)
    assert float(norm.sigma(module.weight_orig.detach())) == pytest.approx(2)
