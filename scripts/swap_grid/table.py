"""The grid's tables: what each method's runs come to beside fine-tuning's of the same pair and seed."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rcas_plugin.metrics.curves import area_under, end_level, mean_interval, steps_to_level
from swap_grid.parts import PARTS, Pair
from swap_grid.runs import Row, rows_of


def with_preparation(row: dict[str, Any], shift: float) -> dict[float, float]:
    """The distance over steps; what the method did before its first one counts as `shift` steps."""
    curve = {float(step): values["distance"] for step, values in row["curve"].items()}
    if shift < 0.5:
        return curve
    return {0.0: row["before"]["distance"], **{step + shift: value for step, value in curve.items()}}


def read_rows(args: argparse.Namespace, part: str, name: str, few: int) -> dict[tuple[Pair, int], dict[str, Any]]:
    """The rows that one method has, by class pair and seed."""
    rows = [Row(part, seed, pair, name, few) for seed in range(args.seeds) for pair in PARTS[part].pairs]
    files = {(row.pair, row.seed): row.file(args.out) for row in rows}
    return {key: json.loads(path.read_text()) for key, path in files.items() if path.is_file()}


#: A method's row, fine_tune's of the same pair and seed, fine_tune's of the same pair, and what each of the two costs -> figures.
Figures = Callable[[dict[str, Any], dict[str, Any], list[dict[str, Any]], "Costs", "Costs"], dict[str, float]]


class Costs(NamedTuple):
    """Seconds of a method's preparation and of its step: medians, as a run that shared its machine is not dearer for it."""

    prepare: float
    step: float

    @classmethod
    def of(cls, rows: Collection[Mapping[str, Any]]) -> Costs:
        return cls(*(float(np.median([row[key] for row in rows])) for key in ("prepare_s", "step_s")))


def over_runs(args: argparse.Namespace, part: str, figures_of_run: Figures) -> dict[str, Any]:
    """Of every method, over the class pairs and seeds that it and fine_tune have: mean, and ends of the 95 % interval."""
    table = {}
    for few in args.images:
        plain = read_rows(args, part, "fine_tune", few)
        for name in args.methods:
            rows = {key: row for key, row in read_rows(args, part, name, few).items() if key in plain}
            if not rows:
                continue
            costs, plain_costs = Costs.of(rows.values()), Costs.of(plain.values())
            figures: dict[str, list[float]] = {}
            for (pair, seed), row in rows.items():
                of_pair = [other for (its_pair, _), other in plain.items() if its_pair == pair]
                for figure, value in figures_of_run(row, plain[pair, seed], of_pair, costs, plain_costs).items():
                    figures.setdefault(figure, []).append(value)
            means = {figure: mean_interval(values) for figure, values in figures.items()}
            table[Row(part, 0, PARTS[part].pairs[0], name, few).method] = {"runs": len(rows), **means}
    return table


def compare(args: argparse.Namespace, part: str) -> dict[str, Any]:
    """The part's table: what `figures_of` says of every method's runs."""

    def figures_of_run(
        row: dict[str, Any], plain: dict[str, Any], of_pair: list[dict[str, Any]], costs: Costs, plain_costs: Costs
    ) -> dict[str, float]:
        # preparation counts as steps of fine_tune, which are the shortest
        figures = figures_of(row, costs.prepare / plain_costs.step, plain, of_pair, PARTS[part].steps)
        return {"time of a step, of fine_tune's": costs.step / plain_costs.step, **figures}

    return over_runs(args, part, figures_of_run)


def figures_of(
    row: dict[str, Any], shift: float, plain: dict[str, Any], of_pair: list[dict[str, Any]], steps: int
) -> dict[str, float]:
    """What one run is compared by: itself, fine_tune's run of its pair and seed, and those of its pair."""
    curve, baseline = with_preparation(row, shift), with_preparation(plain, 0)
    # where fine-tuning has not converged its own end is an easy level; the best of the pair's seeds is a hard one
    own, hard = end_level(baseline), min(end_level(with_preparation(one, 0)) for one in of_pair)
    reached, hard_reached, hard_plain = (
        min(steps_to_level(one, level), float(steps)) for one, level in ((curve, own), (curve, hard), (baseline, hard))
    )
    # a baseline that is nowhere better than at its start is there at once; it counts as one step
    plain_reached, hard_plain = max(steps_to_level(baseline, own), 1.0), max(hard_plain, 1.0)
    before, first, last, plain_last = row["before"], row["curve"]["0"], row["curve"][str(steps)], plain["curve"][str(steps)]
    stale = row["stale"] or first
    found = {
        "steps to fine_tune's end level": reached,
        "level not reached": float(math.isinf(steps_to_level(curve, own))),
        "steps, of fine_tune's": reached / plain_reached,
        "steps to the pair's best level": hard_reached,
        "steps to the pair's best level, of fine_tune's": hard_reached / hard_plain,
        "area, of fine_tune's": area_under(until(curve, steps)) / area_under(baseline),
        "distance at the end": end_level(curve),
        "distance at the end, of fine_tune's": end_level(curve) / own,
        "old class left at once": first["old"],
        "old class left at once, stale statistics": stale["old"],
        "new class recognised at once": first["new"],
        "new class recognised at the end": last["new"],
        "preparation, in steps": shift,
    }
    if "kernel_distance" in last:
        found["kernel distance at the end"] = last["kernel_distance"]
    if "remaining" not in last:
        return found
    return {
        **found,
        "remaining kept at once": first["remaining"] / before["remaining"],
        "remaining kept at once, stale statistics": stale["remaining"] / before["remaining"],
        "remaining distance at once": first["remaining_distance"],
        "remaining at the end": last["remaining"],
        "remaining at the end, less fine_tune's": last["remaining"] - plain_last["remaining"],
        "remaining distance at the end": last["remaining_distance"],
        "remaining distance at the end, less fine_tune's": last["remaining_distance"] - plain_last["remaining_distance"],
    }


def until(curve: dict[float, float], steps: int) -> dict[float, float]:
    """The curve up to a step, its last value interpolated there."""
    kept = {step: value for step, value in curve.items() if step < steps}
    return {**kept, float(steps): float(np.interp(steps, sorted(curve), [curve[step] for step in sorted(curve)]))}


#: The table's columns: a heading, the figure, and whether it is a percentage.
SHOWN = (
    ("old class left at once", "old class left at once", True),
    ("remaining kept at once", "remaining kept at once", True),
    ("steps to fine_tune's end level, of its own", "steps, of fine_tune's", False),
    ("to the best of its seeds, likewise", "steps to the pair's best level, of fine_tune's", False),
    ("area under the distance, of fine_tune's", "area, of fine_tune's", False),
    ("distance at the end", "distance at the end", False),
    ("of fine_tune's", "distance at the end, of fine_tune's", False),
    ("remaining recognised at the end", "remaining at the end", True),
    ("distance of the remaining", "remaining distance at the end", False),
    ("time of a step, of fine_tune's", "time of a step, of fine_tune's", False),
)


def print_table(name: str, table: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a part's table."""
    print(f"\n{name}: mean [95 % interval] over class pairs and seeds\n")
    print_rows(table, SHOWN)


def print_rows(table: Mapping[str, Mapping[str, Any]], columns: Sequence[tuple[str, str, bool]]) -> None:
    """Print a row a method; columns are a heading, the figure, and whether it is a percentage."""
    print("| | runs | " + " | ".join(heading for heading, _, _ in columns) + " |\n| --- |" + " --- |" * (len(columns) + 1))
    for name, figures in table.items():
        cells = [cell(figures[figure], percent) if figure in figures else "" for _, figure, percent in columns]
        if figures["runs"] == 1:  # one run has no interval
            cells = [re.sub(r" \[.*\]", "", shown) for shown in cells]
        print(f"| {name} | {figures['runs']} | " + " | ".join(cells) + " |")


#: The steps at which `print_curves` shows the distance.
CURVE_STEPS = (0, 40, 120, 240, 360, 480, 720)


def mean_curves(args: argparse.Namespace, part: str) -> dict[str, dict[str, float]]:
    """Of every method, the mean distance over all its runs at some steps."""
    found = {}
    for few in args.images:
        for name in args.methods:
            curves = [row["curve"] for row in read_rows(args, part, name, few).values()]
            if curves:
                shown = [str(step) for step in CURVE_STEPS if all(str(step) in curve for curve in curves)]
                means = {step: float(np.mean([curve[step]["distance"] for curve in curves])) for step in shown}
                found[Row(part, 0, PARTS[part].pairs[0], name, few).method] = means
    return found


def print_curves(part: str, curves: dict[str, dict[str, float]]) -> None:
    steps = list(next(iter(curves.values()), {}))
    print(f"\n{part}: mean distance over the steps\n\n| | " + " | ".join(steps) + " |\n| --- |" + " --- |" * len(steps))
    for name, means in curves.items():
        print(f"| {name} | " + " | ".join(f"{means[step]:.0f}" for step in steps) + " |")


def cell(interval: tuple[float, float, float], percent: bool) -> str:
    mean, low, high = (100 * value for value in interval) if percent else interval
    if percent:
        return f"{mean:.1f} [{low:.1f}, {high:.1f}] %"
    digits = 0 if mean >= 10 else 2
    if low == mean == high:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def all_rows(args: argparse.Namespace, part: str) -> list[dict[str, Any]]:
    """Every row that there is, in short: what it was, what it cost, the distance over steps, the rest at once and at the end."""
    found = []
    for one in rows_of(args, part):
        path = one.file(args.out)
        if path.is_file():
            row = json.loads(path.read_text())
            last = row["curve"][str(PARTS[part].steps)]
            found.append({
                "method": one.name, "images": one.few or "all", "slots": one.pair[0], "new": one.pair[1], "seed": one.seed,
                "prepare_s": round(row["prepare_s"], 2), "step_s": round(row["step_s"], 4),
                "distance": {step: round(values["distance"], 1) for step, values in row["curve"].items()},
                "at_once": _rounded(row["curve"]["0"]), "at_once_stale": _rounded(row["stale"] or row["curve"]["0"]),
                "end": _rounded(last), "before": _rounded(row["before"]),
                **{which: {step: _rounded(values) for step, values in row[of].items()}
                   for which, of in (("states", "curve"), ("averaged_states", "average")) if of in row},
            })  # fmt: skip
    return found


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in values.items()}
