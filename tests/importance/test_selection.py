"""Selection against counts and sorts by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rcas_plugin import Importance, RcasError, Selection, select_synapses
from rcas_plugin.importance.selection import Stable, overlap


def importance(**weights: torch.Tensor) -> Importance:
    kinds = {name: ("embedding" if "embedding" in name else "conv") for name in weights}
    return Importance({"generator": weights, "discriminator": weights}, {"generator": kinds, "discriminator": kinds})


def test_the_ratio_of_each_layer() -> None:
    a, b = torch.tensor([[5.0, 1.0], [3.0, 4.0]]), torch.tensor([10.0, 20.0, 30.0, 40.0])
    selection = select_synapses(importance(a=a, b=b), ratio={"generator": 0.5, "discriminator": 0.25})
    assert selection.generator["a"].tolist() == [[True, False], [False, True]]
    assert selection.generator["b"].tolist() == [False, False, True, True]
    assert selection.discriminator["a"].tolist() == [[True, False], [False, False]]
    assert selection.counts()["generator"] == {"a": (2, 4), "b": (2, 4)}
    assert selection.fraction("discriminator") == 0.25


def test_the_ratio_of_the_network() -> None:
    a, b = torch.tensor([5.0, 1.0, 3.0, 4.0]), torch.tensor([10.0, 20.0, 30.0, 40.0])
    selection = select_synapses(importance(a=a, b=b), ratio=0.5, scope="global")
    assert selection.counts()["generator"] == {"a": (0, 4), "b": (4, 4)}


def test_a_weight_of_no_importance_is_never_selected() -> None:
    selection = select_synapses(importance(a=torch.tensor([0.0, 0.0, 2.0, 0.0])), ratio=1.0)
    assert selection.generator["a"].tolist() == [False, False, True, False]


@given(st.lists(st.floats(0.001, 1e3), min_size=1, max_size=50), st.floats(0, 1))
def test_as_many_as_the_ratio_says_and_none_smaller_than_one_left_out(values: list[float], ratio: float) -> None:
    value = torch.tensor(values)
    mask = select_synapses(importance(a=value), ratio=ratio).generator["a"]
    assert int(mask.sum()) == int(ratio * len(values) + 0.5)
    if mask.any() and not mask.all():
        assert value[mask].min() >= value[~mask].max()


def test_kinds_are_switches() -> None:
    weights = importance(conv=torch.ones(4), embedding=torch.ones(4))
    assert set(select_synapses(weights, kinds=frozenset({"conv"})).generator) == {"conv"}


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_nothing_is_selected_but_within(scope: str) -> None:
    weights = importance(a=torch.tensor([5.0, 6.0]), b=torch.tensor([1.0, 2.0]))
    selection = select_synapses(weights, ratio=0.5, scope=scope, within={"generator": {"b"}})  # type: ignore[arg-type]
    assert selection.generator["a"].tolist() == [False, False]
    assert selection.generator["b"].tolist() == [False, True], "the ratio is of what may be selected"
    assert selection.fraction("generator") == 0.25, "and the fraction of all"
    assert int(selection.discriminator["a"].sum()) > 0, "the other network may be selected in all over"
    assert selection.settings["within"] == {"generator": ["b"]}
    assert select_synapses(weights, within={"generator": {}}).fraction("generator") == 0


@pytest.mark.parametrize("ratio", [-0.1, 1.1, {"generator": 2.0, "discriminator": 0.1}])
def test_refuses_a_ratio(ratio: float) -> None:
    with pytest.raises(RcasError, match="allowed: 0 to 1"):
        select_synapses(importance(a=torch.ones(2)), ratio=ratio)


def test_refuses_a_scope() -> None:
    with pytest.raises(RcasError, match="allowed: layer, global"):
        select_synapses(importance(a=torch.ones(2)), scope="block")  # type: ignore[arg-type]


def test_saved_and_loaded(tmp_path: Path) -> None:
    made = select_synapses(importance(a=torch.rand(3, 4), b=torch.rand(7)), ratio=0.3)
    made.save(tmp_path / "selection.safetensors")
    loaded = Selection.load(tmp_path / "selection.safetensors")
    assert loaded.counts() == made.counts()
    assert all(torch.equal(mask, loaded.generator[name]) for name, mask in made.generator.items())
    assert loaded.settings == made.settings
    assert [path.name for path in tmp_path.iterdir()] == ["selection.safetensors"]


def test_against_the_remaining_labels() -> None:
    serves, others = torch.tensor([8.0, 6.0, 2.0, 1.0]), torch.tensor([8.0, 1.0, 4.0, 0.0])
    found, rest = importance(a=serves), importance(a=others)
    ratio = select_synapses(found, ratio=0.5, against=rest, rule="ratio")  # 1, 6, 0.5, infinite
    assert ratio.generator["a"].tolist() == [False, True, False, True]
    difference = select_synapses(found, ratio=0.5, against=rest, rule="difference")  # 0, 5, -2, 1
    assert difference.generator["a"].tolist() == [False, True, False, True]
    assert select_synapses(found, ratio=0.25, against=rest, rule="difference").generator["a"].tolist() == [
        False,
        True,
        False,
        False,
    ]
    assert ratio.settings["rule"] == "ratio"
    assert ratio.factors == {}


def test_damping_keeps_the_factor_of_selective_synaptic_dampening(tmp_path: Path) -> None:
    serves, others = torch.tensor([8.0, 6.0, 2.0, 0.0]), torch.tensor([8.0, 1.0, 4.0, 1.0])
    selection = select_synapses(importance(a=serves), scope="threshold", threshold=0.9, against=importance(a=others),
                                rule="damping", damping=0.5, exponent=2)  # fmt: skip
    assert selection.generator["a"].tolist() == [True, True, False, False]
    expected = torch.tensor([(0.5 * 8 / 8) ** 2, (0.5 * 1 / 6) ** 2, 1.0, 1.0])
    torch.testing.assert_close(selection.factors["generator"]["a"], expected)
    selection.save(tmp_path / "s.safetensors")
    loaded = Selection.load(tmp_path / "s.safetensors")
    torch.testing.assert_close(loaded.factors["generator"]["a"], expected)
    assert loaded.settings == selection.settings


def test_a_threshold_takes_whatever_is_over_it() -> None:
    selection = select_synapses(importance(a=torch.tensor([0.5, 2.0, 3.0, 0.1])), scope="threshold", threshold=0.4)
    assert selection.generator["a"].tolist() == [True, True, True, False]
    capped = select_synapses(importance(a=torch.tensor([0.5, 2.0, 3.0, 0.1])), scope="threshold", threshold=0.4, cap=0.25)
    assert capped.generator["a"].tolist() == [False, False, True, False]
    with pytest.raises(RcasError, match="needs a threshold"):
        select_synapses(importance(a=torch.ones(2)), scope="threshold")


def test_a_cap_holds_for_each_layer() -> None:
    a, b = torch.tensor([5.0, 1.0, 3.0, 4.0]), torch.tensor([10.0, 20.0, 30.0, 40.0])
    selection = select_synapses(importance(a=a, b=b), ratio=0.5, scope="global", cap=0.5)
    assert selection.counts()["generator"] == {"a": (0, 4), "b": (2, 4)}
    assert select_synapses(importance(a=a), ratio=0.75, cap=0.25).counts()["generator"] == {"a": (1, 4)}


def test_units_are_selected_as_a_whole() -> None:
    weight = torch.zeros(2, 2, 1, 2)  # mean over kernels: 3, 2 / 1, 3.5
    weight[0, 0, 0] = torch.tensor([1.0, 5.0])
    weight[0, 1, 0] = torch.tensor([2.0, 2.0])
    weight[1, 0, 0] = torch.tensor([1.0, 1.0])
    weight[1, 1, 0] = torch.tensor([7.0, 0.0])
    kernels = select_synapses(importance(a=weight), ratio=0.5, unit="kernel").generator["a"]
    assert kernels[:, :, 0, 0].tolist() == [[True, False], [False, True]]
    assert kernels[1, 1, 0].tolist() == [True, False], "no importance, not selected"
    filters = select_synapses(importance(a=weight), ratio=0.5, unit="filter").generator["a"]
    assert filters.flatten(1).any(1).tolist() == [True, False]  # mean over filters: 2.5 and 2.25
    transposed = Importance({"generator": {"a": weight.transpose(0, 1)}, "discriminator": {}},
                            {"generator": {"a": "conv_transpose"}, "discriminator": {}})  # fmt: skip
    chosen = select_synapses(transposed, ratio=0.5, unit="filter").generator["a"]
    assert chosen.transpose(0, 1).flatten(1).any(1).tolist() == [True, False]
    assert select_synapses(importance(a=weight), ratio=0.3, unit="filter").counts()["generator"] == {"a": (0, 8)}, "cut through"


def test_the_overlap_of_two_selections() -> None:
    first = select_synapses(importance(a=torch.tensor([4.0, 3.0, 2.0, 1.0])), ratio=0.5)
    second = select_synapses(importance(a=torch.tensor([4.0, 1.0, 2.0, 3.0])), ratio=0.5)
    assert overlap(first, first) == 1
    assert overlap(first, second) == pytest.approx(1 / 3)


def test_stable_stops_at_the_wanted_overlap() -> None:
    stable = Stable(0.9, lambda found: select_synapses(found, ratio=0.5))
    one, other = importance(a=torch.tensor([4.0, 3.0, 2.0, 1.0])), importance(a=torch.tensor([4.0, 1.0, 2.0, 3.0]))
    assert not stable(one)
    assert not stable(other)
    assert stable.reached == pytest.approx(1 / 3)
    assert stable(other)


@pytest.mark.parametrize("wrong", [{"cap": 2.0}, {"unit": "block"}, {"rule": "sum"}])
def test_refuses_more(wrong: dict[str, object]) -> None:
    with pytest.raises(RcasError, match="allowed"):
        select_synapses(importance(a=torch.ones(2)), **wrong)  # type: ignore[arg-type]
