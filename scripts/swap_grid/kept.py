"""The table of kept states: each run at the state that it keeps, beside the best one of fine-tuning at equal time."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

from rcas_plugin.metrics.best import best_step
from rcas_plugin.metrics.curves import steps_to_level
from swap_grid.table import over_runs, print_rows

#: Seconds -> the figures of the state at that time.
States = dict[float, dict[str, float]]


def kept_table(args: argparse.Namespace, name: str) -> dict[str, dict[str, Any]]:
    """The table of kept states: what `kept_figures` says of every method's runs."""
    return over_runs(args, name, lambda row, plain, of_pair, costs, plain_costs: kept_figures(row, plain, costs, plain_costs))


def kept_figures(
    row: Mapping[str, Any], plain: Mapping[str, Any], costs: tuple[float, float], plain_costs: tuple[float, float]
) -> dict[str, float]:
    """What a run keeps in the time that fine-tuning takes for all its steps, and the best state of fine-tuning in that time.

    Args:
        row: the run.
        plain: fine-tuning's of the same pair and seed.
        costs: seconds of preparation and of a step.
        plain_costs: likewise of fine-tuning.
    """
    of_plain = [timed(plain[which], *plain_costs) for which in ("curve", "average")]
    limit = max(of_plain[0])
    # fine-tuning's best state is the nearest of all, averaged or not, whatever its other labels have lost
    best = min((state for states in of_plain for state in states.values()), key=lambda state: state["distance"])
    states = {seconds: state for seconds, state in timed(row[row["kept"]], *costs).items() if seconds <= limit * 1.001}
    first = min(states)
    at = kept_at(states, row["before"])
    kept, start = states[at], states[first]
    level = steps_to_level({seconds: state["distance"] for seconds, state in states.items()}, best["distance"])
    plain_at = min(
        steps_to_level({seconds: state["distance"] for seconds, state in one.items()}, best["distance"]) for one in of_plain
    )
    figures = {
        "kept distance": kept["distance"],
        "fine_tune's best": best["distance"],
        "kept, of fine_tune's best": kept["distance"] / best["distance"],
        "kept, of its start": kept["distance"] / start["distance"],
        "step of the kept state": round((at - costs[0]) / costs[1]),
        "old class left": kept["old"],
        "new class recognised": kept["new"],
        "remaining distance": kept["remaining_distance"],
        "remaining, of fine_tune's": kept["remaining_distance"] / best["remaining_distance"],
        "remaining recognised": kept["remaining"],
        "remaining recognised, less fine_tune's": kept["remaining"] - best["remaining"],
        "time to fine_tune's best, of its own": min(level, limit) / max(plain_at, plain_costs[1]),
        "fine_tune's best not reached": float(math.isinf(level)),
    }
    if "second distance" in kept:
        figures["kept, of fine_tune's best, second judge"] = kept["second distance"] / best["second distance"]
        figures["remaining, of fine_tune's, second judge"] = kept["second remaining_distance"] / best["second remaining_distance"]
    return figures


def timed(curve: Mapping[str, dict[str, float]], prepare_s: float, step_s: float) -> States:
    """The states of a run by the seconds after which they are there."""
    return {prepare_s + int(step) * step_s: state for step, state in curve.items()}


def kept_at(states: States, before: Mapping[str, float]) -> float:
    """The time of the state that a run keeps, by the rule that runs go by (`rcas_plugin.metrics.best`)."""
    times = sorted(states)
    return times[best_step({index: _moment(states[time]) for index, time in enumerate(times)}, _moment(before))]


def _moment(state: Mapping[str, float]) -> dict[str, Any]:
    """The figures of a state as swap metrics have them."""
    return {
        "new": {"frechet_distance": state["distance"], "recognised": state["new"]},
        "old": {"left": state["old"]},
        "remaining": {"frechet_distance": state["remaining_distance"], "recognised": state["remaining"]},
        "labels": [{"label": 0, "part": "new"}],
        "confusion": {"0": [1000]},
    }


#: The table's columns: a heading, the figure, and whether it is a percentage.
SHOWN = (
    ("kept: distance to the new class", "kept distance", False),
    ("fine_tune's best", "fine_tune's best", False),
    ("kept, of that", "kept, of fine_tune's best", False),
    ("by the second judge", "kept, of fine_tune's best, second judge", False),
    ("kept, of its start", "kept, of its start", False),
    ("at step", "step of the kept state", False),
    ("old class left", "old class left", True),
    ("new class recognised", "new class recognised", True),
    ("remaining labels' distance, of fine_tune's", "remaining, of fine_tune's", False),
    ("by the second judge", "remaining, of fine_tune's, second judge", False),
    ("remaining recognised, less fine_tune's", "remaining recognised, less fine_tune's", True),
    ("time to fine_tune's best, of its own", "time to fine_tune's best, of its own", False),
)


def print_kept(name: str, table: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the table of kept states."""
    print(f"\n{name}: the kept state beside the best one of fine_tune in the same time, mean [95 % interval]\n")
    print_rows(table, SHOWN)
