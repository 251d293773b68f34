"""`classify.json` from the outcomes of all strategies and seeds: accuracies, forgetting, and their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rcas_plugin.lifelong.alternation import Outcome
from rcas_plugin.lifelong.plan import Plan
from rcas_plugin.lifelong.strategies import LOWER, UPPER
from rcas_plugin.metrics.curves import mean_interval
from rcas_plugin.metrics.sequence import SequenceFigures, sequence_figures
from rcas_plugin.report.classify import Classify, Interval, StrategyFigures


def summary(plan: Plan, outcomes: Sequence[Outcome]) -> Classify:
    """The figures of every strategy, over its seeds."""
    together: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        together.setdefault(outcome.strategy, []).append(outcome)
    test = sum(total for _, total in outcomes[0].tasks[-1].values())
    strategies = [_figures(plan, name, several) for name, several in together.items()]
    return Classify(tasks=plan.tasks, strategies=strategies, bounds=(LOWER, UPPER), memory=plan.classifier.memory, test=test)


def accuracy_matrix(plan: Plan, outcome: Outcome) -> list[list[float]]:
    """R[t][j]: after task t, the accuracy on the classes of task j, for j up to t; each class counts alike."""
    return [[_accuracy(counts, plan.tasks[learned]) for learned in range(task + 1)] for task, counts in enumerate(outcome.tasks)]


def forgetting_of(matrix: Sequence[Sequence[float]]) -> SequenceFigures:
    """Forgetting and backward transfer over the tasks of an accuracy matrix."""
    values = [{str(learned): value for learned, value in enumerate(row)} for row in matrix]
    return sequence_figures(values, {str(task): task for task in range(len(matrix))})


def _figures(plan: Plan, name: str, outcomes: Sequence[Outcome]) -> StrategyFigures:
    matrices = [accuracy_matrix(plan, outcome) for outcome in outcomes]
    accuracies = [[_accuracy(counts, plan.seen(task)) for task, counts in enumerate(outcome.tasks)] for outcome in outcomes]
    forgotten = [forgetting_of(matrix).mean_forgetting for matrix in matrices]
    known = [value for value in forgotten if value is not None]
    forgetting = mean_interval(known)
    mean, low, high = forgetting
    return StrategyFigures(
        name=name,
        seeds=len(outcomes),
        accuracy=[_share([accuracy[task] for accuracy in accuracies]) for task in range(len(plan.tasks))],
        average=_share([float(np.mean(accuracy)) for accuracy in accuracies]),
        average_later=_share([float(np.mean(accuracy[1:])) for accuracy in accuracies]),
        forgetting=forgetting,
        backward_transfer=(-mean, -high, -low),
        matrix=[
            [float(np.mean([matrix[task][learned] for matrix in matrices])) for learned in range(task + 1)]
            for task in range(len(plan.tasks))
        ],
        seconds=mean_interval([outcome.seconds for outcome in outcomes]),
    )


def _accuracy(counts: Mapping[str, tuple[int, int]], classes: Sequence[str]) -> float:
    return float(np.mean([counts[name][0] / counts[name][1] for name in classes]))


def _share(values: Sequence[float]) -> Interval:
    """Mean and interval, whose ends stay in [0, 1]."""
    mean, low, high = mean_interval(values)
    return mean, max(0.0, low), min(1.0, high)
