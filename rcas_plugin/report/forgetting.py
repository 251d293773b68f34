"""A report's figures of forgetting: what the slot still shows of the old class, and the remaining label that has it worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rcas_plugin.metrics.sequence import sequence_figures
from rcas_plugin.record import LineageSwap
from rcas_plugin.report.runs import Run

#: The columns of `forgetting_rows`.
HEADS = (
    "moment", "old class left", "its mean probability", "entropy, slot", "entropy, remaining",
    "least recognised", "farthest from its class",
)  # fmt: skip


def forgetting_rows(run: Run) -> list[list[str]]:
    """Rows of `HEADS` before, at step 0, at the best state and at the end; none for a run of an earlier version."""
    steps = [step for step in dict.fromkeys((0, run.kept_step, max(run.steps))) if step in run.steps]
    chosen = {f"step {step:,}{', best' if step == run.best_step else ''}": run.steps[step] for step in sorted(steps)}
    rows = []
    for moment, values in {"before": run.metrics.get("before"), **chosen}.items():
        if values is None or "worst" not in values:
            continue
        new, old, rest = values["new"], values["old"], values["remaining"]
        rows.append([
            moment, _percent(old.get("left")), _percent(old.get("probability")), _nats(new.get("entropy")),
            _nats(rest.get("entropy")), _worst(values, "recognised"), _worst(values, "frechet_distance"),
        ])  # fmt: skip
    return rows


def sequence_sentence(run: Run) -> str:
    """What a lineage has left of its new classes, in the words of continual learning; empty where there is nothing to say.

    The pre-trained classes are left out: their figures at the pre-training are not in the record.
    """
    swaps = run.record.swaps
    if len(swaps) < 2:
        return ""
    now = {row["class"]: row["recognised"] for row in run.kept["labels"] if row["recognised"] is not None}
    moments: list[Mapping[str, float]] = [_then(swap) for swap in swaps[:-1]]
    learned = {slot.new: index for index, swap in enumerate(swaps) for slot in swap.slots.values()}
    figures = sequence_figures([*moments, now], learned, _replaced(swaps))
    if figures.average is None:
        return ""
    sentence = f"The new classes that are still there are recognised in {figures.average:.1%} on average (average accuracy)"
    if figures.mean_forgetting is not None:
        sentence += (
            f"; forgetting, when learned minus now, is {100 * figures.mean_forgetting:.1f} points over "
            f"{', '.join(figures.forgetting)}, and backward transfer {100 * -figures.mean_forgetting:.1f}"
        )
    if figures.left_out:
        sentence += f"; replaced on purpose and left out: {', '.join(figures.left_out)}"
    return f"{sentence}."


def _then(swap: LineageSwap) -> dict[str, float]:
    """The recognised share of a swap's new classes when it ended."""
    values = {slot.new: swap.figures[label].recognised for label, slot in swap.slots.items() if label in swap.figures}
    return {name: value for name, value in values.items() if value is not None}


def _replaced(swaps: Sequence[LineageSwap]) -> set[str]:
    """Classes that a swap gave up and that have no label at the end."""
    return {slot.old for swap in swaps for slot in swap.slots.values() if slot.old is not None} - set(swaps[-1].labels)


def _worst(values: Mapping[str, Any], figure: str) -> str:
    worst = values["worst"].get(figure)
    if worst is None or worst["value"] is None:
        return ""
    return f"{worst['class']}: {worst['value']:.1%}" if figure == "recognised" else f"{worst['class']}: {worst['value']:.3g}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _nats(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
