"""Forgetting and backward transfer over a sequence of swaps, by the formulas that Avalanche's metrics have.

Of a class, forgetting is its value when it was learned minus its last value, and backward transfer is the negative of that
(Lopez-Paz and Ranzato, 2017); over the sequence both are means. As in Avalanche (`avalanche.evaluation.metrics.forgetting_bwt`)
the class that was learned last has none yet, since nothing came after it. A class that a swap replaced on purpose is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SequenceFigures:
    """What a sequence of swaps has left of the classes that are still there.

    Attributes:
        average: mean value at the end, over all of them (average accuracy, where the values are accuracies).
        forgetting: class -> its value when it was learned minus its last; of those after which another swap came.
        left_out: classes that were replaced on purpose.
    """

    average: float | None
    forgetting: Mapping[str, float]
    left_out: tuple[str, ...]

    @property
    def mean_forgetting(self) -> float | None:
        """The mean of `forgetting`; under 0 where later swaps made classes better. None where there are none."""
        return float(np.mean(list(self.forgetting.values()))) if self.forgetting else None

    @property
    def backward_transfer(self) -> float | None:
        """BWT, the negative of `mean_forgetting`."""
        return None if self.mean_forgetting is None else -self.mean_forgetting


def sequence_figures(
    values: Sequence[Mapping[str, float]], learned: Mapping[str, int], replaced: Collection[str] = ()
) -> SequenceFigures:
    """Forgetting over a sequence.

    Args:
        values: R[i][j], of the moment i (0 may be the pre-trained GAN) and the class j: the share that is recognised, or minus a
            distance, so that more is better. A class that was not judged at a moment is left out of that moment.
        learned: class -> the moment right after which it was there first. Classes of the pre-training have 0.
        replaced: classes that a later swap gave up on purpose.

    Raises:
        ValueError: a class was learned at a moment that `values` does not hold.
    """
    if any(not 0 <= moment < len(values) for moment in learned.values()):
        raise ValueError("a class was learned at a moment without values")
    kept = {name: moment for name, moment in learned.items() if name not in replaced}
    last = len(values) - 1
    at_end = [values[last][name] for name in kept if name in values[last]]
    forgetting = {
        name: float(values[moment][name] - values[last][name])
        for name, moment in kept.items()
        if moment < last and name in values[moment] and name in values[last]
    }
    return SequenceFigures(
        float(np.mean(at_end)) if at_end else None, forgetting, tuple(name for name in learned if name in replaced)
    )
