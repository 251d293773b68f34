"""Figures of a curve over steps: the steps to a level, the area, and intervals over several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import integrate, stats

#: Step (a whole number or not) -> value.
Curve = Mapping[Any, float]


def end_level(curve: Curve, points: int = 3) -> float:
    """The level at the end of a curve: the median of its last points, so that one noisy point does not decide."""
    return float(np.median([curve[step] for step in sorted(curve)[-points:]]))


def steps_to_level(curve: Curve, level: float) -> float:
    """The first step at which a falling curve is at `level` or under, by linear interpolation; infinite where it never is."""
    last: tuple[float, float] | None = None
    for step in sorted(curve):
        value = curve[step]
        if value <= level:
            if last is None:
                return float(step)
            return float(last[0] + (step - last[0]) * (last[1] - level) / (last[1] - value))
        last = (step, value)
    return float("inf")


def area_under(curve: Curve) -> float:
    """The area under a curve by trapezia, divided by its steps: the mean height."""
    steps = sorted(curve)
    return float(integrate.trapezoid([curve[step] for step in steps], steps) / (steps[-1] - steps[0]))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean, and the lower and upper end of its interval by Student's t; the ends are the mean for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    spread = float(stats.sem(values)) * float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    return mean, mean - spread, mean + spread
