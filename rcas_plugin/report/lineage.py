"""The table of a run's lineage: each swap up to the run's own, and the figures of its new classes then and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rcas_plugin.record import LineageSwap
from rcas_plugin.report.figures import cells
from rcas_plugin.report.runs import Run

#: Of a new class, when its swap ended and now.
SHOWN = ("recognised", "frechet_distance")


def lineage_rows(run: Run) -> list[list[str]]:
    """A row for each slot of each swap, oldest first; none where the run's own swap is the first.

    Number of the swap, label, old and new class, method, steps; then recognised and Fréchet distance when the swap ended, and
    the same at the best state of this run, or what has replaced the class since.
    """
    swaps = run.record.swaps
    if len(swaps) < 2:
        return []
    rows = []
    for index, swap in enumerate(swaps):
        newest = index + 1 == len(swaps)
        steps = max(run.steps) if newest else swap.steps
        for label, slot in sorted(swap.slots.items()):
            now = _now(slot.new, swaps[index + 1 :], run.kept["labels"])
            then = now if newest else _then(swap, label)
            rows.append([str(index + 1), str(label), f"{slot.old} → {slot.new}" if slot.old is not None else f"new: {slot.new}",
                         swap.method, "" if steps is None else f"{steps:,}", *then, *now])  # fmt: skip
    return rows


def _then(swap: LineageSwap, label: int) -> list[str]:
    figures = swap.figures.get(label)
    return ["not judged", ""] if figures is None else cells([getattr(figures, name) for name in SHOWN])


def _now(name: str, later: Sequence[LineageSwap], labels: Sequence[Mapping[str, Any]]) -> list[str]:
    """The class's figures at the end of the run, or the class that has replaced it."""
    for swap in later:
        for slot in swap.slots.values():
            if slot.old == name:
                return [f"replaced by {slot.new}", ""]
    for row in labels:
        if row["class"] == name:
            return cells([row[figure] for figure in SHOWN])
    return ["not judged", ""]
