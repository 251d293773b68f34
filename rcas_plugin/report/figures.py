"""A report's figures as text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rcas_plugin.metrics.swap import PRDC
from rcas_plugin.report.runs import Group, Interval, Run

#: The columns of a table of figures, but for those of `more_cells`.
FIGURES = ("recognised", "frechet_distance", "kernel_distance", *PRDC)


def numbers(one: Group) -> list[dict[str, Any]]:
    """The four numbers at the head of a report, at the best state; `value` is the one of swap_metrics.json (of the first run)."""
    run = one.runs[0]
    elapsed, steps, kept = run.last["elapsed_s"], max(run.steps), run.kept
    before = run.metrics.get("before", {}).get("remaining", {}).get("recognised")
    return [
        {"name": "new class recognised", "key": "new.recognised", "value": kept["new"].get("recognised"),
         "shown": _percent(one.at_best("new", "recognised")), "note": _at_end(one, "of the slot's images", "new", "recognised")},
        {"name": "old class left", "key": "old.left", "value": kept["old"].get("left"),
         "shown": _percent(one.at_best("old", "left")), "note": _at_end(one, "of the slot's images", "old", "left")},
        {"name": "remaining labels recognised", "key": "remaining.recognised", "value": kept["remaining"].get("recognised"),
         "shown": _percent(one.at_best("remaining", "recognised")),
         "note": _at_end(one, f"{before:.1%} before the swap" if before is not None else "", "remaining", "recognised")},
        {"name": "time", "key": "elapsed_s", "value": elapsed, "shown": duration(elapsed), "note": f"{steps:,} steps"},
    ]  # fmt: skip


def _at_end(one: Group, note: str, part: str, figure: str) -> str:
    """A note with the figure at the end of the runs, where that is not their best state."""
    if all(run.kept_step == max(run.steps) for run in one.runs):
        return note
    return f"{note}{'; ' if note else ''}{_percent(one.at_end(part, figure))} at the end"


def distances(one: Group) -> list[tuple[str, str]]:
    """The Fréchet distances at the best state and at the end, each with its name, and the step of the best state."""
    parts = {"distance to the new class": "new", "distance of the remaining": "remaining"}
    steps = sorted(set(one.best_steps))
    kept = [(name, _plain(one.at_best(part, "frechet_distance"))) for name, part in parts.items()]
    end = [(f"{name}, at the end", _plain(one.at_end(part, "frechet_distance"))) for name, part in parts.items()]
    best = "not recorded" if not steps else f"step {steps[0]}" + (f" to {steps[-1]}" if len(steps) > 1 else "")
    return [*kept, *end, ("best state", best)]


def rows_of_parts(run: Run) -> list[list[str]]:
    """Rows of part, moment, then `FIGURES` and `more_cells`."""
    moments = {"before": run.metrics.get("before"), **{f"step {step}": values for step, values in run.steps.items()}}
    kept = f"step {run.kept_step}"
    chosen = ["before", "step 0", kept, list(moments)[-1]]
    rows = []
    for part, name in (("new", "new class"), ("old", "old class"), ("remaining", "remaining labels")):
        for moment in dict.fromkeys(chosen):
            values = (moments.get(moment) or {}).get(part)
            if values:
                shown = [values.get("left" if part == "old" and figure == "recognised" else figure) for figure in FIGURES]
                rows.append(
                    [name, f"{moment}, best" if moment == f"step {run.best_step}" else moment, *cells(shown), *more_cells(values)]
                )
    return rows


def rows_of_labels(run: Run) -> list[list[str]]:
    """Rows of label, class, part, then `FIGURES` and `more_cells`, at the best state."""
    return [
        [str(row["label"]), row["class"], row["part"], *cells([row[figure] for figure in FIGURES]), *more_cells(row)]
        for row in run.kept["labels"]
    ]


def cells(values: Sequence[float | None]) -> list[str]:
    """Cells of text: a share in percent, then plain numbers; empty where one is not known."""
    percent = "" if values[0] is None else f"{values[0]:.1%}"
    return [percent, *("" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in values[1:])]


def more_cells(values: Mapping[str, float | None]) -> list[str]:
    """Cells of KID with its standard error, and of diversity; empty for a file of an earlier version."""
    mean, error, spread = (values.get(figure) for figure in ("kid", "kid_error", "diversity"))
    kid = "" if mean is None else f"{mean:.3g}" + (f" ± {error:.2g}" if error is not None else "")
    return [kid, "" if spread is None else f"{spread:.2f}"]


def reached(one: Group, level: float) -> list[str]:
    """The name of the group, and the steps and the time after which its distance was at a level."""
    reached = one.steps_to(level)
    seconds = [_time_at(run, step) for run, step in zip(one.runs, reached, strict=True)]
    if any(math.isinf(step) for step in reached):
        return [one.name, "not reached", ""]
    low, high = min(reached), max(reached)
    steps = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
    return [one.name, steps, duration(sum(seconds) / len(seconds))]


def first_to_reach(groups: Sequence[Group], level: float) -> str:
    """A sentence that ranks several groups by the steps to a common level; empty for one group, or where none reached it."""
    ranked = sorted(groups, key=lambda group: sum(group.steps_to(level)) / len(group.runs))
    if len(groups) < 2 or any(math.isinf(step) for step in ranked[0].steps_to(level)):
        return ""
    clauses = [f"{name} after {steps} steps ({time})" if time else f"{name} never" for name, steps, time in
               (reached(group, level) for group in ranked)]  # fmt: skip
    return f"At a distance of {level:.3g} to the new class: {', '.join(clauses)}."


def _time_at(run: Run, step: float) -> float:
    """The seconds that a run had taken at a step, by linear interpolation."""
    if math.isinf(step):
        return math.inf
    known = list(run.steps.items())
    for (low, first), (high, second) in itertools.pairwise(known):
        if low <= step <= high:
            return float(first["elapsed_s"] + (step - low) / (high - low) * (second["elapsed_s"] - first["elapsed_s"]))
    return float(known[0][1]["elapsed_s"])


def _percent(interval: Interval | None) -> str:
    if interval is None:
        return "not known"
    mean, low, high = (100 * value for value in interval)
    return f"{mean:.1f} %" if low == mean == high else f"{mean:.1f} % [{low:.1f}, {high:.1f}]"


def _plain(interval: Interval | None) -> str:
    if interval is None:
        return "not known"
    mean, low, high = interval
    return f"{mean:.3g}" if low == mean == high else f"{mean:.3g} [{low:.3g}, {high:.3g}]"


def as_text(figure: str, interval: Interval | None) -> str:
    """The mean of a figure, and its interval where that is one: a distance as it is, a share in percent."""
    return (_plain if "distance" in figure else _percent)(interval)


def duration(seconds: float) -> str:
    """Seconds as text, in s, min or h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
