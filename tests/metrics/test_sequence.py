"""Forgetting and backward transfer of a small matrix, by hand and as Avalanche's metric defines them."""

from __future__ import annotations

import pytest

from rcas_plugin.metrics.sequence import sequence_figures

#: After the pre-training of a, b, c; after c became d; after a became e.
VALUES = [{"a": 0.9, "b": 0.8, "c": 0.7}, {"a": 0.85, "b": 0.6, "d": 0.95}, {"e": 0.5, "b": 0.7, "d": 0.75}]
LEARNED = {"a": 0, "b": 0, "c": 0, "d": 1, "e": 2}


def test_by_hand_without_what_was_replaced() -> None:
    found = sequence_figures(VALUES, LEARNED, replaced=["a", "c"])
    assert found.average == pytest.approx((0.5 + 0.7 + 0.75) / 3)
    assert found.forgetting == pytest.approx({"b": 0.8 - 0.7, "d": 0.95 - 0.75}), "e came last: nothing could make it forgotten"
    assert found.mean_forgetting == pytest.approx(0.15)
    assert found.backward_transfer == pytest.approx(-0.15)
    assert found.left_out == ("a", "c")


def test_of_minus_a_distance_more_is_better_too() -> None:
    values = [{"a": -10.0, "b": -20.0}, {"a": -4.0, "c": -9.0}]
    found = sequence_figures(values, {"a": 0, "b": 0, "c": 1}, replaced=["b"])
    assert found.forgetting == {"a": -6.0}
    assert found.backward_transfer == 6.0, "the swap made a better"


def test_what_was_not_judged_is_left_out() -> None:
    found = sequence_figures([{}, {"b": 0.5}], {"a": 0, "b": 1})
    assert found.average == 0.5
    assert found.forgetting == {}
    assert found.mean_forgetting is None
    assert found.backward_transfer is None
    assert sequence_figures([{}], {"a": 0}).average is None


def test_a_moment_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="without values"):
        sequence_figures([{"a": 1.0}], {"a": 1})
