"""The figures of a classifier that is to detect one class among others, from its confusion matrix, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn import metrics

#: The part of the class's images that are named it; the part of all others' images that are; the lowest recall of the other
#: classes; the mean F1 of all classes.
FIGURES = ("sensitivity", "false_alarms", "worst_remaining", "macro_f1")
#: Test sets that a bootstrap draws.
RESAMPLES = 1000

Array = npt.NDArray[np.float64]
#: Value, and the lower and upper end of its interval.
Interval = tuple[float, float, float]


def confusion_matrix(true: Sequence[int], predicted: Sequence[int], classes: int) -> npt.NDArray[np.int64]:
    """Counts (classes, classes): a row the true class, a column the class that was named."""
    counts: npt.NDArray[np.int64] = metrics.confusion_matrix(true, predicted, labels=range(classes))
    return counts


def figures_of(confusion: npt.ArrayLike, new: int) -> dict[str, Array]:
    """`FIGURES` of confusion matrices (…, classes, classes), each (…); classes without test images have no recall.

    Macro-F1 is scikit-learn's: over the classes that are shown or named, 0 for one that is never named rightly.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    shown, named = counts.sum(-1), counts.sum(-2)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore"):  # 0 / 0 for a class without images
        recall = right / shown
        f1 = 2 * right / (shown + named)
    others = np.delete(recall, new, axis=-1)
    return {
        "sensitivity": recall[..., new],
        "false_alarms": (named[..., new] - right[..., new]) / (shown.sum(-1) - shown[..., new]),
        "worst_remaining": np.where(np.isnan(others), np.inf, others).min(-1),
        "macro_f1": np.nanmean(f1, axis=-1),
    }


def wilson(part: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The ends of Wilson's interval (1927) of a share that was seen in `count` trials."""
    interval = stats.binomtest(round(part * count), count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


class Bootstrap:
    """Test sets drawn again from one, by photograph and within each class; the same draws for every classifier.

    Images of one photograph are no independent witnesses, so they are drawn together.

    Args:
        true: the class of each test image.
        photographs: what each is a part of; an image of its own has a name of its own.
        classes: how many.
        new: the class that is to be detected.
    """

    def __init__(self, true: Sequence[int], photographs: Sequence[str], classes: int, new: int) -> None:
        self.true, self.classes, self.new = np.asarray(true), classes, new
        draws = np.random.default_rng(0)
        self._members: dict[int, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array]] = {}
        for index in range(classes):
            positions = np.flatnonzero(self.true == index)
            if len(positions):
                names, member = np.unique(np.asarray(photographs)[positions], return_inverse=True)
                weights = draws.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
                self._members[index] = (positions, member, weights.astype(np.float64))

    def intervals(self, predicted: Sequence[int]) -> dict[str, Interval]:
        """The 95 % interval of each figure, by percentiles; of a share of 0 or 1, where all draws agree, Wilson's."""
        values = self._values(predicted)
        at = {figure: float(value) for figure, value in self._figures(predicted).items()}
        found = {figure: _percentiles(at[figure], values[figure]) for figure in FIGURES}
        counts = {index: weights.shape[1] for index, (_, _, weights) in self._members.items()}
        trials = {"sensitivity": counts[self.new], "false_alarms": sum(counts.values()) - counts[self.new]}
        for figure, count in trials.items():
            if at[figure] in (0.0, 1.0) and count:
                found[figure] = (at[figure], *wilson(at[figure], count))
        return found

    def differences(self, predicted: Sequence[int], baseline: Sequence[int]) -> dict[str, Interval]:
        """The same of the figures of one classifier less those of another, on the same draws."""
        at, before = self._figures(predicted), self._figures(baseline)
        values, others = self._values(predicted), self._values(baseline)
        return {figure: _percentiles(float(at[figure] - before[figure]), values[figure] - others[figure]) for figure in FIGURES}

    def _figures(self, predicted: Sequence[int]) -> Mapping[str, Array]:
        return figures_of(confusion_matrix(self.true.tolist(), predicted, self.classes), self.new)

    def _values(self, predicted: Sequence[int]) -> Mapping[str, Array]:
        named = np.asarray(predicted, dtype=np.int64)
        drawn = np.zeros((RESAMPLES, self.classes, self.classes))
        for index, (positions, member, weights) in self._members.items():
            counts = np.zeros((weights.shape[1], self.classes))
            np.add.at(counts, (member, named[positions]), 1)
            drawn[:, index] = weights @ counts
        return figures_of(drawn, self.new)


def _percentiles(value: float, drawn: Array) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return value, float(low), float(high)
