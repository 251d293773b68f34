"""What rows of swaps in a row come to: figures of one row, their mean over seeds, and how they differ from those on real images.

A row is a dictionary: `start`, and for each swap one in `swaps`, of `slot`, `new`, `seconds`, `parameters` and `classes`. `start`
and `classes` have for each class the share `recognised`, the `distance`, and under `as` the shares that called other classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rcas_plugin.metrics.curves import mean_interval
from rcas_plugin.metrics.sequence import sequence_figures

#: Of the remaining labels, recognised in points (percent): after the first swap, and after all of them.
AFTER_ONE, AFTER_ALL = "remaining, one swap: recognised", "remaining, all swaps: recognised"
#: What is printed: figure -> its head. Of the first swap, and of all.
OF_ONE = {
    "new, one swap: distance": "new class: distance", "new, one swap: recognised": "recognised, %",
    "old class left, one swap": "old class left, %", AFTER_ONE: "remaining: recognised, %",
    "remaining, one swap: distance": "distance",
}  # fmt: skip
OF_ALL = {
    "new: distance": "new classes: distance", "new: recognised": "recognised, %", "seen as the old class": "old class left, %",
    AFTER_ALL: "remaining: recognised, %", "remaining, all swaps: distance": "distance", "forgetting": "forgetting, points",
    "parameters added in G": "parameters added in G", "seconds": "processor seconds",
}  # fmt: skip


def after_one(row: Mapping[str, Any]) -> dict[str, float]:
    """Figures of a row's first swap; recognition in points."""
    swap = row["swaps"][0]
    new = swap["classes"][swap["new"]]
    return {
        "new, one swap: distance": new["distance"],
        "new, one swap: recognised": 100 * new["recognised"],
        "old class left, one swap": 100 * new["as"][swap["slot"]],
        AFTER_ONE: 100 * _of_others(swap, "recognised"),
        "remaining, one swap: distance": _of_others(swap, "distance"),
    }


def after_all(row: Mapping[str, Any], pretrained: Sequence[str]) -> dict[str, float]:
    """Figures of a row of all its swaps; recognition in points, and those of new classes the mean over the swaps.

    Args:
        row: of the last swap too.
        pretrained: classes of the GAN that the first swap started from.
    """
    swaps = row["swaps"]
    moments = [row["start"], *(swap["classes"] for swap in swaps)]
    values = [{name: figures["recognised"] for name, figures in moment.items()} for moment in moments]
    learned = dict.fromkeys(pretrained, 0) | {swap["new"]: place + 1 for place, swap in enumerate(swaps)}
    sequence = sequence_figures(values, learned, set(learned) - set(values[-1]))
    news = [swap["classes"][swap["new"]] for swap in swaps]
    return {
        "new: distance": float(np.mean([new["distance"] for new in news])),
        "new: recognised": 100 * float(np.mean([new["recognised"] for new in news])),
        "seen as the old class": 100 * float(np.mean([new["as"][swap["slot"]] for new, swap in zip(news, swaps, strict=True)])),
        AFTER_ALL: 100 * _of_others(swaps[-1], "recognised"),
        "remaining, all swaps: distance": _of_others(swaps[-1], "distance"),
        "forgetting": 100 * (sequence.mean_forgetting or 0.0),
        "backward transfer": 100 * (sequence.backward_transfer or 0.0),
        "parameters added in G": sum(swap["parameters"] for swap in swaps),
        "seconds": sum(swap["seconds"] for swap in swaps),
    }


def _of_others(swap: Mapping[str, Any], figure: str) -> float:
    """The mean over the labels that remained in a swap, right after it."""
    return float(np.mean([figures[figure] for name, figures in swap["classes"].items() if name != swap["new"]]))


def table_of(rows: Mapping[str, Sequence[Mapping[str, Any]]], pretrained: Sequence[str], swaps: int) -> dict[str, dict[str, Any]]:
    """Method and data -> how many `runs` have a first swap and all of them, and figure -> mean and 95 % interval over these runs.

    Args:
        rows: by method and data, one a seed, as far as they have come.
        pretrained: see `after_all`.
        swaps: of a whole row.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, runs in rows.items():
        begun = [after_one(row) for row in runs if row["swaps"]]
        whole = [after_all(row, pretrained) for row in runs if len(row["swaps"]) == swaps]
        if begun:
            table[name] = {"runs": len(begun), "runs of all swaps": len(whole)} | {
                figure: mean_interval([run[figure] for run in some]) for some in (begun, whole) if some for figure in some[0]
            }
    return table


def less_than_real(
    rows: Mapping[tuple[str, str], Mapping[int, Mapping[str, Any]]], pretrained: Sequence[str], swaps: int
) -> dict[str, dict[str, Any]]:
    """Method and data -> figure of the remaining labels -> its difference from the same seed's on real images, in points.

    Mean and ends of the 95 % interval over seeds, for `AFTER_ONE`, and for `AFTER_ALL` where there are whole rows.

    Args:
        rows: (method, data) -> seed -> row.
        pretrained: see `after_all`.
        swaps: of a whole row.
    """
    table: dict[str, dict[str, Any]] = {}
    for (method, data), runs in rows.items():
        pairs = [(row, rows[method, "real"][seed]) for seed, row in runs.items() if seed in rows.get((method, "real"), {})]
        begun = [after_one(row)[AFTER_ONE] - after_one(real)[AFTER_ONE] for row, real in pairs if row["swaps"] and real["swaps"]]
        whole = [
            after_all(row, pretrained)[AFTER_ALL] - after_all(real, pretrained)[AFTER_ALL]
            for row, real in pairs if len(row["swaps"]) == len(real["swaps"]) == swaps
        ]  # fmt: skip
        if data != "real" and begun:
            table[f"{method}, {data}"] = {"runs": len(begun), AFTER_ONE: mean_interval(begun)} | (
                {"runs of all swaps": len(whole), AFTER_ALL: mean_interval(whole)} if whole else {}
            )
    return table


def print_tables(title: str, table: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Mapping[str, Any]]) -> None:
    """Print both as Markdown, means with their intervals."""
    for moment, runs, heads in (("after one swap", "runs", OF_ONE), ("after all swaps", "runs of all swaps", OF_ALL)):
        rows = {name: figures for name, figures in table.items() if figures[runs]}
        if rows:
            print(f"\n| {title}, {moment} | runs | " + " | ".join(heads.values()) + " |\n" + "| --- " * (len(heads) + 2) + "|")
        for name, figures in rows.items():
            print(f"| {name} | {figures[runs]} | " + " | ".join(_interval(figures[figure]) for figure in heads) + " |")
    if differences:
        print(
            f"\n| {title}, recognised, less than on real images | runs | after one swap | runs | after all |\n"
            + "| --- " * 5
            + "|"
        )
    for name, figures in differences.items():
        after = _interval(figures[AFTER_ALL], "+") if AFTER_ALL in figures else ""
        counts = figures["runs"], figures.get("runs of all swaps", "")
        print(f"| {name} | {counts[0]} | {_interval(figures[AFTER_ONE], '+')} | {counts[1]} | {after} |")


def _interval(values: Sequence[float], sign: str = "") -> str:
    """The mean with the ends of its interval, where there is more than one run."""
    digits = 0 if max(map(abs, values)) >= 1000 else 1
    mean, low, high = (f"{value:{sign},.{digits}f}" for value in values)
    return mean if low == high else f"{mean} [{low}, {high}]"
