"""Selection against counts and sorts by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rcas_plugin import Importance, RcasError, Selection, select_synapses


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
