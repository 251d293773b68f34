"""Curves against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from rcas_plugin.metrics.curves import area_under, end_level, mean_interval, steps_to_level

CURVE = {0: 100.0, 10: 60.0, 20: 20.0, 30: 10.0, 40: 12.0}


def test_the_first_step_at_a_level_lies_between_two_points() -> None:
    assert steps_to_level(CURVE, 40) == pytest.approx(15)
    assert steps_to_level(CURVE, 200) == 0
    assert math.isinf(steps_to_level(CURVE, 5))


def test_the_end_is_the_median_of_the_last_points() -> None:
    assert end_level(CURVE) == 12
    assert end_level(CURVE, points=1) == 12


def test_the_area_is_the_mean_height() -> None:
    assert area_under(CURVE) == pytest.approx((80 + 40 + 15 + 11) / 4)


def test_the_interval_is_students() -> None:
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert high - mean == pytest.approx(4.30265 / math.sqrt(3), rel=1e-4)  # t of 2 degrees of freedom at 97.5 %, spread 1
    assert mean - low == pytest.approx(high - mean)
    assert mean_interval([5.0]) == (5.0, 5.0, 5.0)
