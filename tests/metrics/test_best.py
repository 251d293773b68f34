"""The rule for the best state, clause by clause, on figures written by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rcas_plugin.metrics.best import best_step, choose, cost, costs, reason, states_since_best


def moment(
    distance: float | None, left: float | None = 0.0, remaining: float | None = 10.0, *, recognised: float | None = 0.9,
    others: float | None = 0.95, images: int = 250,
) -> dict[str, Any]:  # fmt: skip
    """The figures of a moment: of the new class, the old one, the remaining labels."""
    return {
        "new": {"recognised": recognised, "frechet_distance": distance},
        "old": {} if left is None else {"left": left},
        "remaining": {} if remaining is None and others is None else {"recognised": others, "frechet_distance": remaining},
        "labels": [{"label": 0, "part": "remaining"}, {"label": 1, "part": "new"}],
        "confusion": {"0": [images], "1": [images - 1, 1]},
    }


BEFORE = moment(900, 1.0)


def test_step_0_is_a_candidate() -> None:
    steps = {0: moment(20), 50: moment(30), 100: moment(34)}
    assert best_step(steps, BEFORE) == 0
    assert reason(steps, BEFORE, 0) == "the smallest distance to the new class, 20"
    assert best_step({**steps, 150: moment(19)}, BEFORE) == 150


def test_of_equal_states_it_is_the_latest() -> None:
    assert best_step({0: moment(20), 50: moment(20), 100: moment(21)}, BEFORE) == 50


def test_remaining_labels_cost_nothing_within_the_tolerance_and_the_square_beyond() -> None:
    assert cost(moment(8, remaining=12.5), BEFORE) == 8
    assert cost(moment(8, remaining=25), BEFORE) == pytest.approx(8 * 4)
    assert best_step({0: moment(20), 50: moment(8, remaining=12.4)}, BEFORE) == 50
    assert best_step({0: moment(20), 50: moment(8, remaining=25)}, BEFORE) == 0
    assert "but its remaining labels have suffered more" in reason({0: moment(20), 50: moment(8, remaining=25)}, BEFORE, 0)


def test_a_swap_that_has_not_happened_is_not_the_best_although_nothing_else_suffered() -> None:
    """Fine-tuning's step 0 is the pre-trained GAN: its remaining labels are whole, and its slot is the old class."""
    assert best_step({0: moment(990, 1.0), 50: moment(20, remaining=14), 100: moment(18, remaining=19)}, BEFORE) == 50


def test_where_none_is_within_the_tolerance_the_nearest_to_it_wins() -> None:
    assert best_step({0: moment(20, remaining=40), 50: moment(20, remaining=20), 100: moment(20, remaining=30)}, BEFORE) == 50


def test_a_slot_that_still_shows_the_old_class_wins_only_over_far_states() -> None:
    assert cost(moment(20, 0.01), BEFORE) == 20
    assert cost(moment(20, 0.11), BEFORE) == pytest.approx(40)
    steps = {0: moment(20, 0.12), 50: moment(34)}
    assert best_step(steps, BEFORE) == 50
    assert reason(steps, BEFORE, 50) == (
        "distance 34 to the new class; step 0 is at 20, but 12.0% of its slot still show the old class"
    )
    assert best_step({0: moment(20, 0.12), 50: moment(80)}, BEFORE) == 0
    assert best_step({0: moment(20, 0.05, images=20), 50: moment(21, images=20)}, BEFORE) == 0, "one image of twenty"


def test_a_gan_that_has_diverged_is_not_the_best() -> None:
    steps = {0: moment(20), 50: moment(math.nan), 100: moment(None)}
    assert costs(steps, BEFORE) == {0: 20, 50: math.inf, 100: math.inf}
    assert best_step(steps, BEFORE) == 0


def test_without_distances_what_is_recognised_decides() -> None:
    def few(recognised: float | None, others: float | None = 0.95, left: float = 0.0) -> dict[str, Any]:
        return moment(None, left, None, recognised=recognised, others=others)

    before = few(0.0)
    steps = {0: few(0.7), 50: few(0.8), 100: few(0.75)}
    assert best_step(steps, before) == 50
    assert reason(steps, before, 50) == "the new class is recognised in 80.0%"
    assert best_step({0: few(0.7), 50: few(0.8, 0.9)}, before) == 50, "five points of the remaining labels are within"
    assert best_step({0: few(0.7), 50: few(0.8, 0.8)}, before) == 0
    assert best_step({0: few(0.7), 50: few(0.75, left=0.2)}, before) == 0
    assert best_step({0: few(None), 50: few(None)}, before) == 50, "nothing is known: the newest"
    assert reason({0: few(None)}, before, 0) == "nothing is known of the new class"


def test_without_figures_from_before_the_first_state_stands_for_them() -> None:
    assert best_step({0: moment(20), 50: moment(8, remaining=25)}) == 0
    assert best_step({0: moment(20, remaining=None, others=None), 50: moment(8, remaining=None, others=None)}) == 50


def test_the_best_so_far_is_the_best_of_all_and_never_one_that_was_passed_over() -> None:
    """What a run keeps step by step is what the rule says of the whole run."""
    figures = [(30, 0.0, 10), (18, 0.03, 10), (10, 0.08, 14), (9, 0.0, 40), (14, 0.02, 9), (14, 0.02, 9), (50, 0.0, 10)]
    steps = {10 * index: moment(*values) for index, values in enumerate(figures)}
    kept = 0
    for newest in steps:
        kept = best_step({step: steps[step] for step in (kept, newest)}, BEFORE)
        assert kept == best_step({step: value for step, value in steps.items() if step <= newest}, BEFORE)
    assert kept == 50


def test_states_since_the_best() -> None:
    metrics: dict[str, Any] = {"best": {"step": 20}, "steps": {"0": {}, "20": {}, "40": {}, "60": {}, "100": {}}}
    assert states_since_best(metrics, 100) == 3
    assert states_since_best(metrics, 60) == 2
    assert states_since_best({"steps": {"0": {}}}, 0) == 0
    assert states_since_best({}, 0) == 0


def test_the_newest_state_is_held_against_the_best_so_far() -> None:
    metrics: dict[str, Any] = {"before": BEFORE, "steps": {"0": moment(20), "50": moment(15)}}
    assert choose({**metrics, "best": {"step": 0}}, 50) == {"step": 50, "why": "the smallest distance to the new class, 15"}
    worse = {**metrics["steps"], "100": moment(17)}
    assert choose({**metrics, "steps": worse, "best": {"step": 50}}, 100)["step"] == 50
    assert choose({**metrics, "steps": worse}, 100)["step"] == 50, "of a run that had chosen none"
    assert choose({"steps": {"0": moment(20)}}, 0)["step"] == 0
