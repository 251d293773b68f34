"""Weights are found by module type."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from rcas_plugin.weights.synapses import find_synapses, kind_of, register_module_type, spectral_norm_of


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


@pytest.mark.parametrize("dominant", [False, True])
@pytest.mark.parametrize(("layer", "dim"), [(nn.Linear(4, 6, bias=False), 1), (nn.Embedding(4, 6), 0)])
def test_a_held_norm_is_the_same_to_the_bit_whatever_is_edited(layer: nn.Module, dim: int, dominant: bool) -> None:
    """F2, D9: one label's column or row is edited under spectral norm, and what the others are divided by stays to the bit."""
    torch.manual_seed(0)
    module = nn.utils.spectral_norm(copy.deepcopy(layer))
    norm = spectral_norm_of(module)
    assert norm is not None
    weight = module.weight_orig.detach()
    with torch.no_grad():
        weight.normal_()
        weight.select(dim, 2).mul_(1e4 if dominant else 1)
    norm.refresh(weight)
    module.eval()
    sigma = norm.sigma(weight).clone()
    used = weight / sigma
    norm.hold(weight, sigma, dim, [2])
    assert torch.equal(norm.sigma(weight), sigma)
    assert norm.along(dim)[2] == 0
    with torch.no_grad():
        weight.select(dim, 2).normal_(0, 30)
    now = weight / norm.sigma(weight)
    others = torch.tensor([0, 1, 3])
    assert torch.equal(now.index_select(dim, others), used.index_select(dim, others))
    assert not torch.equal(now.select(dim, 2), used.select(dim, 2))
    module.train()
    for _ in range(50):  # training turns the vectors to the weight's own norm, as ever
        module(torch.eye(4) if dim else torch.arange(4))
    assert float(norm.sigma(weight)) == pytest.approx(float(torch.linalg.matrix_norm(weight, 2)), rel=1e-3)


def test_a_norm_of_what_is_free_alone_is_made_anew() -> None:
    module = nn.utils.spectral_norm(nn.Linear(2, 2, bias=False))
    norm = spectral_norm_of(module)
    assert norm is not None
    with torch.no_grad():
        module.weight_orig.copy_(torch.diag(torch.tensor([0.0, 3.0])))
    norm.hold(module.weight_orig, torch.tensor(5.0), 1, [1])
    assert float(norm.sigma(module.weight_orig.detach())) == pytest.approx(3)


@pytest.mark.parametrize("seed", range(20))
def test_a_norm_of_vectors_that_never_turned_is_held_too(seed: int) -> None:
    """F2: in new networks u and v are random, and their norm a small difference of large parts."""
    torch.manual_seed(seed)
    module = nn.utils.spectral_norm(nn.Embedding(3, 8))
    norm = spectral_norm_of(module)
    assert norm is not None
    weight = module.weight_orig.detach()
    sigma = norm.sigma(weight).clone()
    norm.hold(weight, sigma, 0, [1])
    assert torch.equal(norm.sigma(weight), sigma)


@pytest.mark.parametrize("dim", [0, 1])
def test_the_limit_is_the_nearest_within_the_norm(dim: int) -> None:
    """F2: a matched column may not be so long that training's spectral norm shrinks the others for it."""
    torch.manual_seed(3)
    module = nn.utils.spectral_norm(nn.Linear(4, 4, bias=False))
    norm = spectral_norm_of(module)
    assert norm is not None
    weight = module.weight_orig.detach()
    norm.refresh(weight)
    sigma = float(norm.sigma(weight))
    norm.hold(weight, norm.sigma(weight).clone(), dim, [1])
    nearest = norm.limit(weight, dim, 1)
    inside = weight.select(dim, 1).clone()
    assert torch.equal(nearest(inside), inside)
    far = 5 * torch.randn(4)
    near = nearest(far)

    def largest(vector: torch.Tensor) -> float:
        edited = weight.clone()
        edited.select(dim, 1).copy_(vector)
        return float(torch.linalg.matrix_norm(edited.double(), 2))

    assert largest(far) > 2 * sigma
    assert largest(near) == pytest.approx(1.02 * sigma, rel=1e-4)
    for _ in range(200):  # no other one within the norm is nearer
        other = nearest(near + 0.3 * torch.randn(4))
        assert largest(other) <= 1.0201 * sigma
        assert (other - far).norm() >= (near - far).norm() - 1e-4
