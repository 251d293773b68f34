"""Styles in factors, by hand: what is kept, which earlier columns are used, and that they come back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rcas_plugin.methods.gan_memory.adapter import Style
from rcas_plugin.methods.gan_memory.low_rank import LowRankStyle, energy_of, factored, kept_count


def matrix(rows: int = 6, columns: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def nothing(of: Tensor) -> tuple[Tensor, Tensor]:
    return of.new_zeros(len(of), 0), of.new_zeros(of.shape[1], 0)


def test_all_of_it_reconstructs() -> None:
    target = matrix()
    factors = factored(target, 1.0, *nothing(target))
    torch.testing.assert_close((factors.u * factors.a) @ factors.v.T, target, rtol=0, atol=1e-12)
    assert factors.u.shape == (6, 5)
    assert factors.v.shape == (5, 5)


@pytest.mark.parametrize(("energy", "kept"), [(0.4, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.9, 3), (0.91, 4), (1.0, 4)])
def test_the_least_number_of_values_that_keeps_the_part(energy: float, kept: int) -> None:
    """Of 5, 3, 1, 1: sums 5, 8, 9, 10. Of the values, and not of their squares, which would be 25, 34, 35 of 36."""
    assert kept_count(torch.zeros(0), torch.tensor([5.0, 3.0, 1.0, 1.0]), energy) == kept


@pytest.mark.parametrize(("energy", "kept"), [(0.5, 0), (0.51, 1), (0.9, 1), (0.91, 2), (1.0, 2)])
def test_earlier_factors_count(energy: float, kept: int) -> None:
    """|a| of 4 and 1 beside 4 and 1: 5, 9, 10 of 10; none is kept where they are enough."""
    assert kept_count(torch.tensor([4.0, -1.0]), torch.tensor([4.0, 1.0]), energy) == kept


def test_earlier_columns_are_used_again() -> None:
    """What lies in their span needs none of its own, and the fit is the least-squares one."""
    first = factored(matrix(), 0.7, *nothing(matrix()))
    count = first.u.shape[1]
    within = (first.u * torch.arange(1.0, count + 1, dtype=torch.float64)) @ first.v.T
    again = factored(within, 0.999, first.u, first.v)
    assert again.u.shape[1] == 0
    torch.testing.assert_close(again.a, torch.arange(1.0, count + 1, dtype=torch.float64), rtol=0, atol=1e-9)
    other = matrix(seed=3)
    fitted = factored(other, 0.01, first.u, first.v)
    products = torch.stack([torch.outer(u, v).flatten() for u, v in zip(first.u.T, first.v.T, strict=True)], 1)
    wanted = torch.linalg.lstsq(products, other.flatten()[:, None]).solution[:, 0]
    torch.testing.assert_close(fitted.a[:count], wanted, rtol=0, atol=1e-9)


def test_what_is_kept_of_a_style_of_so_many_rows() -> None:
    assert [energy_of(rows) for rows in (64, 255, 256, 511, 512, 1023, 1024, 2048)] == [1, 1, 0.95, 0.95, 0.9, 0.9, 0.8, 0.8]


def styled(seed: int) -> tuple[Tensor, Style]:
    """A convolution's weight, and a style that is not its own."""
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(9))
    style = Style.of(weight)
    with torch.no_grad():
        style.gamma.copy_(matrix(seed=seed)[:, :, None, None])
        style.beta.copy_(matrix(seed=seed + 1)[:, :, None, None])
    return weight, style


def test_three_tasks_in_a_row_come_back_to_the_bit() -> None:
    """From what a task's file has: without the columns of the tasks before, which are in their own files."""
    weight, _ = styled(0)
    tasks: list[dict[str, Any]] = []
    images = []
    for number in range(3):
        style = LowRankStyle.of(styled(10 * number)[1], 0.6, tasks)
        assert style.gamma_u_before.shape[1] == sum(task["gamma_u"].shape[1] for task in tasks)  # type: ignore[union-attr, index]
        images.append(style(weight).detach())
        state = style.state_dict()
        assert torch.equal(LowRankStyle.rebuild(state)(weight), images[-1]), "a run's checkpoint has all of it"
        tasks.append({name: value for name, value in state.items() if name not in LowRankStyle.inherited})
        for past in range(number + 1):
            again = LowRankStyle.rebuild(tasks[past], earlier=tasks[:past])
            assert torch.equal(again(weight), images[past]), f"task {past + 1} after task {number + 1}"
    assert not torch.allclose(images[0], images[1])


def test_with_all_of_it_the_style_is_what_it_was() -> None:
    weight, style = styled(0)
    whole = LowRankStyle.of(style, 1.0, [])
    torch.testing.assert_close(whole(weight), style(weight), rtol=0, atol=1e-5)
    half = LowRankStyle.of(style, 0.5, [{"gamma": style.gamma, "beta": style.beta}])
    assert (half(weight) - style(weight)).abs().max() > 1e-3, "and earlier styles that are whole have no columns"
