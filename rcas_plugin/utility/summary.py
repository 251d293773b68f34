"""`utility.json` from the results of all trainings: means, intervals and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rcas_plugin.metrics.curves import mean_interval
from rcas_plugin.metrics.detection import FIGURES, Bootstrap, Interval, confusion_matrix, figures_of
from rcas_plugin.report.utility import AUGMENTED, BOTH, GENERATED, REAL, Utility
from rcas_plugin.utility.experiment import Choice, Result
from rcas_plugin.utility.material import Material
from rcas_plugin.utility.trials import CONDITIONS

#: What is compared with what.
GAINS = ((BOTH, AUGMENTED), (GENERATED, AUGMENTED), (GENERATED, REAL), (AUGMENTED, REAL))


class Figures:
    """The figures of several classifiers on one test set, and their differences, with 95 % intervals.

    Over the seeds by Student's t where there are several; of a single one by a bootstrap over the test's photographs.
    """

    def __init__(self, material: Material) -> None:
        self.true, self.classes, self.new = material.test.labels.tolist(), len(material.classes), material.new
        self._bootstrap = Bootstrap(self.true, material.test.photographs, self.classes, self.new)

    def of(self, predictions: Sequence[Sequence[int]]) -> dict[str, Interval]:
        """Of the predictions of each seed; the ends of shares stay in [0, 1]."""
        if len(predictions) == 1:
            return self._bootstrap.intervals(predictions[0])
        values = [self._values(predicted) for predicted in predictions]
        means = {figure: mean_interval([value[figure] for value in values]) for figure in FIGURES}
        return {figure: (mean, max(0.0, low), min(1.0, high)) for figure, (mean, low, high) in means.items()}

    def gain(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> dict[str, Interval]:
        """Of the first of each pair less the second, a pair a seed."""
        if len(pairs) == 1:
            return self._bootstrap.differences(*pairs[0])
        values = [(self._values(one), self._values(other)) for one, other in pairs]
        return {figure: mean_interval([one[figure] - other[figure] for one, other in values]) for figure in FIGURES}

    def _values(self, predicted: Sequence[int]) -> dict[str, float]:
        confusion = confusion_matrix(self.true, predicted, self.classes)
        return {figure: float(value) for figure, value in figures_of(confusion, self.new).items()}


def summary(
    material: Material,
    results: Sequence[Result],
    choices: Sequence[Choice],
    *,
    saw: int | None,
    state: str,
    everywhere: bool,
    copies: Mapping[str, Any] | None,
    remarks: Sequence[str] = (),
) -> Utility:
    """The content of `utility.json`.

    Args:
        material: the real images.
        results: of all seeds.
        choices: of all seeds.
        saw: real images of the new class that the generator was trained on; None where each row had a generator of its own.
        state: which state of the generator was drawn from.
        everywhere: whether generated images of every class were shown.
        copies: as `Experiment.copies` has it.
        remarks: more sentences.
    """
    figures = Figures(material)
    by_row: dict[tuple[int, str], dict[int, Result]] = {}
    for result in results:
        by_row.setdefault((result.trial.real, result.trial.condition), {})[result.trial.seed] = result
    order = list(CONDITIONS)
    keys = sorted(by_row, key=lambda key: (key[0] == 0, key[0], order.index(key[1])))
    rows = [
        {"real": key[0], "condition": key[1], "seeds": len(by_row[key]),
         "figures": figures.of([result.predicted for result in by_row[key].values()]),
         "generated": [result.generated for result in by_row[key].values()]}
        for key in keys
    ]  # fmt: skip
    gains = []
    for real in sorted({real for real, _ in by_row if real}):
        for condition, over in GAINS:
            one, other = by_row.get((real, condition), {}), by_row.get((real, over), {})
            pairs = [(one[seed].predicted, other[seed].predicted) for seed in one if seed in other]
            if pairs:
                gains.append({"real": real, "condition": condition, "over": over, "figures": figures.gain(pairs)})
    seeds = max(len(several) for several in by_row.values())
    content = {
        "new": material.classes[material.new], "classes": list(material.classes), "saw": saw, "state": state, "seeds": seeds,
        "interval": f"over {seeds} seeds (Student's t)" if seeds > 1 else "over the test's photographs (bootstrap, one seed)",
        "test": [len(material.test.positions(material.new)), len(material.test.files)], "everywhere": everywhere,
        "remarks": [*material.remarks(), *remarks], "rows": rows, "gains": gains, "amounts": _amounts(choices),
        "copies": None if copies is None else dict(copies),
    }  # fmt: skip
    return Utility.model_validate(content, strict=False)


def _amounts(choices: Sequence[Choice]) -> list[dict[str, Any]]:
    together: dict[tuple[int, float], list[Choice]] = {}
    for choice in choices:
        together.setdefault((choice.trial.real, choice.trial.amount), []).append(choice)
    return [
        {"real": real, "amount": amount, "generated": several[0].generated,
         "loss": mean_interval([choice.loss for choice in several]),
         "sensitivity": mean_interval([choice.sensitivity for choice in several]),
         "chosen": sum(choice.chosen for choice in several)}
        for (real, amount), several in sorted(together.items())
    ]  # fmt: skip
