"""The figures of detecting one class, against counts by hand and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as sklearn_matrix
from sklearn.metrics import f1_score, recall_score

from rcas_plugin.metrics.detection import FIGURES, Bootstrap, confusion_matrix, figures_of, wilson

#: A row the true class; the new class is 2.
CONFUSION = [[8, 1, 1], [3, 5, 2], [1, 1, 3]]


def test_by_hand() -> None:
    figures = {figure: float(value) for figure, value in figures_of(CONFUSION, 2).items()}
    f1 = [2 * 8 / (10 + 12), 2 * 5 / (10 + 7), 2 * 3 / (5 + 6)]
    assert figures == pytest.approx({
        "sensitivity": 3 / 5, "false_alarms": (1 + 2) / 20, "worst_remaining": 5 / 10, "macro_f1": sum(f1) / 3
    })  # fmt: skip
    assert tuple(figures) == FIGURES


def test_as_scikit_learn_has_it() -> None:
    source = np.random.default_rng(0)
    true, predicted = source.integers(0, 4, 200), source.integers(0, 4, 200)
    confusion = confusion_matrix(true.tolist(), predicted.tolist(), 4)
    assert (confusion == sklearn_matrix(true, predicted)).all()
    figures = figures_of(confusion, 1)
    assert figures["macro_f1"] == pytest.approx(f1_score(true, predicted, average="macro"))
    recalls = recall_score(true, predicted, average=None)
    assert figures["sensitivity"] == pytest.approx(recalls[1])
    assert figures["worst_remaining"] == pytest.approx(min(recalls[[0, 2, 3]]))
    assert figures["false_alarms"] == pytest.approx((predicted[true != 1] == 1).mean())


def test_a_class_that_is_not_there_and_one_that_is_never_named() -> None:
    figures = figures_of([[4, 0, 0], [0, 0, 0], [3, 0, 0]], 2)
    assert figures["worst_remaining"] == 1, "class 1 has no image, and so no recall"
    assert figures["sensitivity"] == 0
    assert figures["macro_f1"] == pytest.approx((8 / 11 + 0) / 2)


def test_wilson_by_its_formula() -> None:
    # 9 of 10 at z = 1.959964: (0.9 + 0.19207) / 1.38415 -+ 1.41607 * sqrt(0.009 + 0.0096036)
    assert wilson(0.9, 10) == pytest.approx((0.59585, 0.98212), abs=1e-4)
    assert wilson(0.0, 10)[0] == 0
    assert wilson(0.0, 10)[1] == pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6)


def test_the_bootstrap_is_as_wide_as_a_binomial_is() -> None:
    true, predicted = [0] * 400 + [1] * 100, [0] * 380 + [1] * 20 + [1] * 70 + [0] * 30
    intervals = Bootstrap(true, [str(index) for index in range(500)], 2, 1).intervals(predicted)
    for figure, share, count in (("sensitivity", 0.7, 100), ("false_alarms", 0.05, 400)):
        value, low, high = intervals[figure]
        assert value == pytest.approx(share)
        assert (high - low) / 2 == pytest.approx(1.96 * (share * (1 - share) / count) ** 0.5, rel=0.15)
        assert low < share < high


def test_images_of_one_photograph_are_no_witnesses_of_their_own() -> None:
    true, predicted = [0] * 100 + [1] * 100, [0] * 100 + [1] * 50 + [0] * 50
    alone = Bootstrap(true, [str(index) for index in range(200)], 2, 1).intervals(predicted)["sensitivity"]
    together = Bootstrap(true, [str(index // 10) for index in range(200)], 2, 1).intervals(predicted)["sensitivity"]
    assert together[2] - together[1] > 2 * (alone[2] - alone[1])


def test_a_share_of_one_has_wilsons_interval_of_its_photographs() -> None:
    intervals = Bootstrap([0, 0, 1, 1, 1, 1], ["a", "b", "c", "c", "d", "d"], 2, 1).intervals([0, 0, 1, 1, 1, 1])
    assert intervals["sensitivity"] == (1.0, *wilson(1.0, 2))
    assert intervals["false_alarms"] == (0.0, *wilson(0.0, 2))


def test_differences_are_paired() -> None:
    """Two classifiers that differ in the same five images have a narrow difference, however wide each is by itself."""
    true, before = [0] * 100 + [1] * 100, [0] * 100 + [1] * 50 + [0] * 50
    after = [0] * 100 + [1] * 55 + [0] * 45
    bootstrap = Bootstrap(true, [str(index) for index in range(200)], 2, 1)
    value, low, high = bootstrap.differences(after, before)["sensitivity"]
    assert value == pytest.approx(0.05)
    assert 0 < low < value < high < 0.12
    assert bootstrap.differences(before, after)["sensitivity"][0] == pytest.approx(-0.05)
    assert bootstrap.differences(before, before)["macro_f1"] == (0, 0, 0)
