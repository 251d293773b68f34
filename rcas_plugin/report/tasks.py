"""The tasks of a lineage in a report: what each added to the pre-trained GAN, and how they lie to each other, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rcas_plugin.record import LineageSwap
from rcas_plugin.report.fonts import arrange, legible
from rcas_plugin.report.pictures import new_figure, save_figure
from rcas_plugin.report.runs import Run

#: The columns of `task_rows`.
TASK_HEADS = ("swap", "new class", "trained in G", "of G's parameters", "bytes of its file")
#: Swaps that a picture has room for, the newest ones.
_SHOWN = 12


def task_rows(run: Run) -> list[list[str]]:
    """Rows of `TASK_HEADS`, a swap each, oldest first; none where no method of the lineage counts its tasks' parameters."""
    swaps, own = run.record.swaps, run.record.parameters
    counts = [*(swap.parameters for swap in swaps[:-1]), own.get("generator")] if swaps else []
    if all(count is None for count in counts):
        return []
    rows = []
    for number, (swap, count) in enumerate(zip(swaps, counts, strict=True), 1):
        new = ", ".join(slot.new for slot in swap.slots.values())
        base = own.get("base")
        part = f"{count / base:.1%}" if count is not None and base else ""
        size = "with the next swap" if number == len(swaps) else "" if swap.bytes is None else f"{swap.bytes:,}"
        rows.append([str(number), new, "all of it" if count is None else f"{count:,}", part, size])
    return rows


def places(swaps: Sequence[LineageSwap]) -> list[tuple[int, int, int]]:
    """(column, row, number of the state before) of the state after each swap; the pre-trained GAN is state 0 at (0, 0).

    A swap leads to the state behind the one that it started from. Tasks that lie apart start from the same state, and stand one
    below the other behind it.
    """
    at, base, row = [(0, 0, 0)], 0, 0
    for number, swap in enumerate(swaps, 1):
        row = row + 1 if swap.apart and base != number - 1 else 0
        if not swap.apart:
            base = number
        before = base if swap.apart else number - 1
        at.append((at[before][0] + 1, row, before))
    return at[1:]


def root_of(swaps: Sequence[LineageSwap]) -> int:
    """The number of the state that the first swap in the picture started from, 0 for the pre-trained GAN."""
    first = max(0, len(swaps) - _SHOWN)
    return places(swaps)[first][2] if swaps else 0


def draw_lineage(path: Path, swaps: Sequence[LineageSwap]) -> None:
    """Draw the states of a lineage as boxes: the pre-trained GAN, and each swap behind the state that it started from."""
    shown, root = list(swaps[-_SHOWN:]), root_of(swaps)
    at = [(0, 0, 0), *places(shown)]
    columns, rows = max(column for column, _, _ in at) + 1, max(row for _, row, _ in at) + 1
    figure = new_figure(2.1 * columns, 0.3 + 0.62 * rows)
    axis = figure.subplots()
    axis.set_xlim(-0.5, columns - 0.5)
    axis.set_ylim(rows - 0.5, -0.5)
    axis.axis("off")
    texts = ["pre-trained" if not root else f"after swap {root}", *map(_text, shown)]
    for state, ((column, row, before), text) in enumerate(zip(at, texts, strict=True)):
        axis.text(column, row, legible(text), ha="center", va="center", fontsize=8,
                  bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "0.4"})  # fmt: skip
        if state:
            axis.annotate("", (column - 0.36, row), (at[before][0] + 0.3, at[before][1]),
                          arrowprops={"arrowstyle": "->", "color": "0.4"}, zorder=0)  # fmt: skip
    arrange(figure, pad=0.3)
    save_figure(figure, path)


def _text(swap: LineageSwap) -> str:
    classes = (f"{slot.old} → {slot.new}" if slot.old is not None else f"new: {slot.new}" for slot in swap.slots.values())
    return f"{', '.join(classes)}\n{swap.method}"
