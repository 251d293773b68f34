"""`classify.json`: what each strategy of class-incremental learning came to, checked as a stranger's file; and its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from rcas_plugin.metrics.schema import Count, Figure
from rcas_plugin.record import FromFile, read_checked
from rcas_plugin.report.figures import duration
from rcas_plugin.report.page import Picture
from rcas_plugin.report.pictures import draw_curves
from rcas_plugin.report.template import write_template

RESULTS, PAGE, CURVES = "classify.json", "classify.html", "classify_curves.png"

#: Mean over the seeds, and the ends of its 95 % interval; all alike for a single seed.
Interval = tuple[Figure, Figure, Figure]
HEADS = ("strategy", "accuracy at the end", "mean over tasks", "without the first", "forgetting", "backward transfer", "time")


class StrategyFigures(FromFile):
    """One strategy; accuracies are from 0 to 1.

    Attributes:
        name: of the strategy.
        seeds: how many.
        accuracy: after each task, the mean over the classes so far.
        average: the mean of `accuracy` over all tasks.
        average_later: over those after the first.
        forgetting: mean over tasks but the last, of the accuracy when the task was learned less that at the end.
        backward_transfer: the negative of it.
        matrix: row t, column j: the accuracy on task j's classes after task t, the mean over the seeds.
        seconds: of all that the strategy needs.
    """

    name: str
    seeds: Annotated[int, Field(ge=1)]
    accuracy: list[Interval]
    average: Interval
    average_later: Interval
    forgetting: Interval
    backward_transfer: Interval
    matrix: list[list[Figure]]
    seconds: Interval

    @property
    def final(self) -> Interval:
        """The accuracy over all classes after the last task."""
        return self.accuracy[-1]


class Classify(FromFile):
    """The whole `classify.json`.

    Attributes:
        tasks: the classes of each.
        strategies: in the order of the plan.
        bounds: the names of the strategies that every other one lies between: the lower, and the upper.
        memory: generated images a class for a task.
        test: how many test images there are.
    """

    tasks: list[list[str]]
    strategies: list[StrategyFigures]
    bounds: tuple[str, str]
    memory: Count
    test: Count

    @model_validator(mode="after")
    def _consistent(self) -> Classify:
        if not self.strategies or any(len(figures.accuracy) != len(self.tasks) for figures in self.strategies):
            raise ValueError("a strategy has another number of tasks")
        return self


def read_classify(folder: Path) -> Classify | None:
    """The results in an output folder of `rcas classify`; None where there are none.

    Raises:
        RcasError: the file is damaged or none of the plugin's.
    """
    return read_checked(folder / RESULTS, Classify, "delete it, and run rcas classify again")


# in words -------------------------------------------------------------------------------------------------------------------


def verdict(classify: Classify) -> str:
    """One sentence: where each strategy ends between the two bounds."""
    final = {figures.name: figures.final[0] for figures in classify.strategies}
    lower, upper = classify.bounds
    others = sorted((name for name in final if name not in classify.bounds), key=lambda name: -final[name])
    classes = sum(map(len, classify.tasks))
    if lower not in final or upper not in final:
        ends = ", ".join(f"{name} {final[name]:.1%}" for name in sorted(final, key=lambda name: -final[name]))
        return f"After the last task, of {classes} classes: {ends}; without both {lower} and {upper} nothing bounds them."
    span = final[upper] - final[lower]
    bounds = f"the new task's images alone end at {final[lower]:.1%} ({lower}), all real images at {final[upper]:.1%} ({upper})"
    if not others:
        return f"After the last task, of {classes} classes: {bounds}."
    if span <= 0:
        ends = ", ".join(f"{name} at {final[name]:.1%}" for name in others)
        return f"After the last task, of {classes} classes: {bounds}, so that they bound nothing; {ends}."
    ends = ", ".join(f"{name} at {final[name]:.1%}, {(final[name] - final[lower]) / span:.0%} of the way" for name in others)
    return f"After the last task, of {classes} classes: {bounds}; between them {ends}."


def rows(classify: Classify) -> list[list[str]]:
    """The table of all strategies, under `HEADS`."""
    return [
        [figures.name, _percent(figures.final), _percent(figures.average), _percent(figures.average_later),
         _percent(figures.forgetting), _percent(figures.backward_transfer), duration(figures.seconds[0])]
        for figures in classify.strategies
    ]  # fmt: skip


def caption(classify: Classify) -> str:
    """What the table's figures are."""
    seeds = max(figures.seeds for figures in classify.strategies)
    over = f"over {seeds} seeds (Student's t)" if seeds > 1 else "of one seed, so without an interval"
    return (
        f"{len(classify.tasks)} tasks, tested on {classify.test} real images; the classifier tells all classes so far apart "
        f"and is not told the task, and each class counts alike. A GAN replays {classify.memory} images a class. "
        f"Means {'and 95 % intervals ' if seeds > 1 else ''}{over}."
    )


def _percent(interval: Interval) -> str:
    mean, low, high = (100 * value for value in interval)
    return f"{mean:.1f} %" if low == high else f"{mean:.1f} [{low:.1f}, {high:.1f}] %"


# the page -------------------------------------------------------------------------------------------------------------------


def write_page(classify: Classify, out: Path) -> Path:
    """Write `classify.html` and its curves into a folder; the page's path."""
    quantity = "accuracy of the classes so far, %"
    curves = {
        figures.name: {task: _scaled(value) for task, value in enumerate(figures.accuracy, 1)} for figures in classify.strategies
    }
    draw_curves(out / CURVES, {quantity: curves}, across="tasks learned")
    content = {
        "title": f"{sum(map(len, classify.tasks))} classes in {len(classify.tasks)} tasks",
        "verdict": verdict(classify),
        "curves": Picture(out / CURVES, "", f"Accuracy over tasks of {', '.join(curves)}"),
        "heads": HEADS,
        "rows": rows(classify),
        "caption": caption(classify),
        "tasks": classify.tasks,
        "matrices": {figures.name: _matrix(figures.matrix) for figures in classify.strategies},
    }
    return write_template("classify.html", content, out / PAGE)


def _scaled(interval: Interval) -> Interval:
    mean, low, high = interval
    return 100 * mean, 100 * low, 100 * high


def _matrix(matrix: Sequence[Sequence[float]]) -> list[list[str]]:
    return [[f"{100 * value:.1f}" for value in row] + [""] * (len(matrix) - len(row)) for row in matrix]
