"""Accuracy matrix, averages and forgetting of outcomes that can be counted by hand."""

from __future__ import annotations

import pytest

from rcas_plugin.lifelong.alternation import Outcome
from rcas_plugin.lifelong.plan import GanKeys, Plan
from rcas_plugin.lifelong.summary import accuracy_matrix, summary

PLAN = Plan(data="data", tasks=[["a", "b"], ["c"]], gan=GanKeys(cfg="gan.yaml"))


def outcome(seed: int, forgotten: int) -> Outcome:
    after = {"a": (10 - forgotten, 10), "b": (2, 4), "c": (5, 5)}
    return Outcome("replay", seed, ({"a": (10, 10), "b": (2, 4)}, after), 10.0 + seed)


def test_each_class_counts_alike() -> None:
    assert accuracy_matrix(PLAN, outcome(0, 4)) == [[0.75], [0.55, 1.0]]


def test_figures_of_one_seed() -> None:
    figures = summary(PLAN, [outcome(0, 4)]).strategies[0]
    final = (0.6 + 0.5 + 1) / 3
    assert figures.final == pytest.approx((final, final, final))
    assert figures.average[0] == pytest.approx((0.75 + final) / 2)
    assert figures.average_later[0] == pytest.approx(final)
    assert figures.forgetting[0] == pytest.approx(0.2)
    assert figures.backward_transfer[0] == pytest.approx(-0.2)
    assert figures.matrix == [[0.75], [pytest.approx(0.55), 1.0]]


def test_intervals_are_over_the_seeds() -> None:
    results = summary(PLAN, [outcome(0, 4), outcome(1, 2)])
    figures = results.strategies[0]
    assert (figures.seeds, results.test) == (2, 19)
    mean, low, high = figures.forgetting
    assert (mean, figures.seconds[0]) == (pytest.approx(0.15), 10.5)
    # Student's t of one degree of freedom: 12.706 times the standard error, half the difference of two values
    assert high - mean == pytest.approx(12.706 * 0.05, abs=1e-3)
    assert figures.backward_transfer == pytest.approx((-mean, -high, -low))
    assert figures.final[2] <= 1, "an accuracy's interval ends at one"
