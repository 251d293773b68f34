"""The bank of filters against the formula by hand, in float64; its start, its checkpoint, its growth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin.methods.piggyback.adapter import Filters, own_filters

#: Co, Ci, k, own filters: N differs from D = Ci k² everywhere, so a reshape in place of a transposition is another weight.
SIZES = [(6, 2, 3, 2), (5, 3, 1, 4), (7, 1, 4, 1), (4, 3, 3, 4)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(shape: Sequence[int], count: int, dim: int, earlier: Sequence[Tensor] = ()) -> Filters:
    """An adapter with lively `u` and `M`."""
    filters = Filters(shape, count, dim, earlier).double()
    with torch.no_grad():
        for index, parameter in enumerate(filters.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=10 + index))
    return filters


def by_hand(weight: Tensor, filters: Filters, earlier: Sequence[Tensor] = ()) -> Tensor:
    """`[u; p]`, each `p_r` a sum over the bank, filter by filter."""
    bank = [one for tensor in (weight, *earlier) for one in tensor.unbind(filters.dim)]
    own = list(filters.new.detach().unbind(filters.dim))
    mix = torch.zeros(len(bank), 0) if filters.mix is None else filters.mix.detach()
    mixed = [sum(float(mix[n, r]) * bank[n] for n in range(len(bank))) for r in range(mix.shape[1])]
    return torch.stack([*own, *mixed], filters.dim)  # type: ignore[list-item]


@pytest.mark.parametrize(("filters", "channels", "kernel", "count"), SIZES)
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("before", [(), (2,), (2, 3)])
def test_a_weight_equals_the_formula_by_hand(
    filters: int, channels: int, kernel: int, count: int, dim: int, before: tuple[int, ...]
) -> None:
    def of(number: int, seed: int) -> Tensor:
        return drawn(*((number, channels) if dim == 0 else (channels, number)), kernel, kernel, seed=seed)

    weight, earlier = of(filters, 0), [of(number, index + 1) for index, number in enumerate(before)]
    adapter = made(weight.shape, count, dim, earlier)
    with torch.no_grad():
        task = adapter(weight)
    assert task.shape == weight.shape
    assert task.is_contiguous()
    torch.testing.assert_close(task, by_hand(weight, adapter, earlier), rtol=0, atol=1e-12)
    if adapter.mix is not None:
        assert adapter.mix.shape == (filters + sum(before), filters - count)
        letters = "nihw,nr->rihw" if dim == 0 else "inhw,nr->irhw"
        mixed = torch.einsum(letters, torch.cat([weight, *earlier], dim), adapter.mix.detach())
        torch.testing.assert_close(task.narrow(dim, count, filters - count), mixed, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [0, 1])
def test_a_reshape_is_no_transposition(dim: int) -> None:
    """The published code reshapes the bank, (N, D), to (D, N): what comes out is no combination of filters."""
    weight = drawn(6, 2, 3, 3) if dim == 0 else drawn(2, 6, 3, 3)
    adapter = made(weight.shape, 2, dim)
    bank = weight.movedim(dim, 0).flatten(1)
    assert adapter.mix is not None
    reshaped = (bank.reshape(bank.shape[1], -1) @ adapter.mix.detach()).T.reshape(4, 2, 3, 3).movedim(0, dim)
    with torch.no_grad():
        mixed = adapter(weight).narrow(dim, 2, 4)
    assert (mixed - reshaped).abs().mean() > 0.5
    filters = bank.T  # what the formula gives lies in the bank's span, to rounding
    solved = torch.linalg.lstsq(filters, mixed.movedim(dim, 0).flatten(1).T).solution
    torch.testing.assert_close(filters @ solved, mixed.movedim(dim, 0).flatten(1).T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(3, 8, 4), nn.Conv1d(3, 5, 3)])
def test_a_layer_computes_with_it(layer: nn.Module) -> None:
    transposed = isinstance(layer, nn.ConvTranspose2d)
    layer = layer.double().requires_grad_(False)
    weight = layer.weight.clone()  # type: ignore[operator]
    adapter = made(weight.shape, 3, int(transposed))
    x = drawn(2, 3, *[9] * (weight.ndim - 2))
    nn.utils.parametrize.register_parametrization(layer, "weight", adapter)
    plain = nn.functional.conv_transpose2d if transposed else getattr(nn.functional, f"conv{weight.ndim - 2}d")
    with torch.no_grad():
        torch.testing.assert_close(layer(x), plain(x, by_hand(weight, adapter), layer.bias), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("count", [1, 3, 6])
def test_it_starts_as_the_base_to_the_bit(dim: int, count: int) -> None:
    weight = drawn(6, 5, 3, 3).float().movedim(0, dim).contiguous()
    adapter = Filters(weight.shape, count, dim, [torch.ones_like(weight)])
    adapter.start(weight)
    assert torch.equal(adapter(weight), weight)


def test_the_published_start() -> None:
    weight = torch.randn(64, 32, 3, 3)
    adapter = Filters(weight.shape, 16)
    adapter.start(weight, "published", torch.Generator().manual_seed(1))
    assert adapter.mix is not None
    for parameter in (adapter.new, adapter.mix):
        assert parameter.mean().abs() < 0.002
        assert parameter.std().item() == pytest.approx(0.02, rel=0.05)


def test_gradients_reach_what_is_the_tasks_and_nothing_else() -> None:
    weight, before = drawn(4, 3, 3, 3).requires_grad_(), drawn(2, 3, 3, 3, seed=1)
    adapter = made(weight.shape, 1, 0, [before])
    adapter(weight).square().sum().backward()
    assert weight.grad is None
    assert [name for name, _ in adapter.named_parameters()] == ["new", "mix"]
    assert all(parameter.grad is not None and (parameter.grad != 0).all() for parameter in adapter.parameters())


def state_of(adapter: Filters) -> dict[str, Any]:
    return {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in adapter.state_dict().items()}


@pytest.mark.parametrize("dim", [0, 1])
def test_the_bank_grows_over_tasks_and_earlier_ones_come_back_to_the_bit(dim: int) -> None:
    weight = drawn(6, 4, 3, 3).float().movedim(0, dim).contiguous()
    adapters: list[Filters] = []
    states: list[dict[str, Any]] = []
    for count in (2, 3, 1):
        adapters.append(made(weight.shape, count, dim, own_filters(states)).float())
        states.append(state_of(adapters[-1]))
    assert [adapter.bank(weight).shape[dim] for adapter in adapters] == [6, 8, 11], "the base's 6 and earlier tasks' own"
    assert "earlier" not in states[0]
    with torch.no_grad():
        wanted = [adapter(weight) for adapter in adapters]
        for index, state in enumerate(states):
            whole = Filters.rebuild(state)  # a checkpoint's
            lean = Filters.rebuild({key: value for key, value in state.items() if key != "earlier"}, states[:index])  # a task's
            assert torch.equal(whole(weight), wanted[index])
            assert torch.equal(lean(weight), wanted[index])
        assert not torch.equal(wanted[0], wanted[1])
    assert all(parameter.device == weight.device for parameter in whole.parameters())


def test_another_methods_adapters_are_not_in_the_bank() -> None:
    weight = drawn(6, 4, 3, 3)
    mine = state_of(made(weight.shape, 2, 0))
    other = {"scale": torch.ones(6), "_extra_state": {"adapter": "gan_memory"}}
    assert own_filters([other, mine]) == [mine["new"]]
    assert Filters.rebuild(state_of(made(weight.shape, 2, 0)), [other]).earlier is None


@pytest.mark.parametrize("count", [0, 7])
def test_a_number_of_filters_that_there_are_not(count: int) -> None:
    with pytest.raises(ValueError, match="allowed: 1 to 6"):
        Filters((6, 4, 3, 3), count)
