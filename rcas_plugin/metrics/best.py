"""The rule for the best state of a swap: one cost a moment, from the swap metrics of that moment and those before the swap.

The cost is the Fréchet distance to the new class, times what the state has lost:

- remaining labels: nothing up to `TOLERANCE` times the distance that they had before the swap; beyond that the square of how far
  beyond. A factor, as distances of other data and other judges have other sizes. Of the distance and not of the recognised part:
  the same few latents and real images stand behind it each time, while what a small judge recognises moves by points from chance,
  and a judge that is sure of everything notices nothing;
- the old class: nothing up to `GONE`, or one image where few are judged; beyond that once more the distance for every `LEAK`.

So what is within the tolerance is chosen by its distance to the new class alone; a state whose slot still shows the old class, or
whose remaining labels have suffered, wins only over states that are much farther from the new class. Where no state is within the
tolerance, the one with the least of both wins. There are no thresholds at which a small difference decides, and since one number
ranks all states, the best so far is never one that was passed over before: its checkpoint is always there.

Where the judge has no distances (under three images), the part that it does not recognise stands in for them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: How many times their distance before the swap the remaining labels may have at no cost.
TOLERANCE = 1.25
#: What the remaining labels may lose of what is recognised at no cost, where there are no distances; each further loss of as much
#: costs the distance once more.
LOSS = 0.05
#: The part of the slot's images that may show the old class at no cost, and the further part that costs the distance once more: a
#: judge mistakes some real images of the new class for the old one too (docs/results/README.md, Kept states).
GONE, LEAK = 0.01, 0.1
#: A state that is worse by no more than this is as good: figures of other latents would differ by as much.
NOISE = 0.05

#: The figures of one moment, as `rcas_plugin.metrics.swap.swap_metrics` returns them.
Moment = Mapping[str, Any]


def cost(moment: Moment, before: Moment | None = None, *, distances: bool = True) -> float:
    """The cost of a state, low is good; infinite where the new class's figure is not known, as after training has diverged.

    Args:
        moment: its figures.
        before: those of the pre-trained GAN; without them the remaining labels cost nothing.
        distances: whether the judge knows distances to the new class.
    """
    recognised = _figure(moment, "new", "recognised")
    base = _figure(moment, "new", "frechet_distance") if distances else None if recognised is None else 1 - recognised
    return math.inf if base is None else base * remaining_cost(moment, before) * old_cost(moment)


def remaining_cost(moment: Moment, before: Moment | None) -> float:
    """The factor for the remaining labels; 1 where they are within the tolerance, or where nothing is known of them."""
    was, now = (_figure(which or {}, "remaining", "frechet_distance") for which in (before, moment))
    if was and now is not None:
        return max(1.0, now / (TOLERANCE * was)) ** 2
    was, now = (_figure(which or {}, "remaining", "recognised") for which in (before, moment))
    return 1.0 if was is None or now is None else 1 + max(0.0, was - now - LOSS) / LOSS


def old_cost(moment: Moment) -> float:
    """The factor for the old class; 1 where it is gone, or where nothing is known of it."""
    left = _figure(moment, "old", "left")
    images = sum(sum(moment["confusion"][str(row["label"])]) for row in moment["labels"] if row["part"] == "new")
    return 1.0 if left is None else 1 + max(0.0, left - max(GONE, 1 / max(1, images))) / LEAK


def costs(steps: Mapping[int, Moment], before: Moment | None = None) -> dict[int, float]:
    """Step -> the cost of its state, ascending; the first state stands for the pre-trained GAN where that was not judged."""
    ascending = dict(sorted(steps.items()))
    reference = before or next(iter(ascending.values()), None)
    distances = any(_figure(moment, "new", "frechet_distance") is not None for moment in ascending.values())
    return {step: cost(moment, reference, distances=distances) for step, moment in ascending.items()}


def best_step(steps: Mapping[int, Moment], before: Moment | None = None) -> int:
    """The step of the best state: the one of the smallest cost, of several the latest.

    Args:
        steps: step -> its figures, at least one; step 0 is the state right after preparation.
        before: those of the pre-trained GAN.
    """
    of_step = costs(steps, before)
    smallest = min(of_step.values())
    return max(step for step, value in of_step.items() if value == smallest)


def choose(metrics: Mapping[str, Any], newest: int) -> dict[str, Any]:
    """The best state once a new one is judged: its step, and why (`best` in `swap_metrics.json`).

    The newest is held against the best so far alone, whose checkpoint is there. Runs of version 0.1 have chosen none, and their
    best weights are their newest: there it is held against the one before it.

    Args:
        metrics: the content of `swap_metrics.json`, the newest state in it.
        newest: its step.
    """
    steps = {int(step): moment for step, moment in metrics["steps"].items()}
    before, best = metrics.get("before"), metrics.get("best", {}).get("step")
    kept = best if best in steps else max((step for step in steps if step < newest), default=newest)
    chosen = best_step({step: steps[step] for step in (kept, newest)}, before)
    return {"step": chosen, "why": reason(steps, before, chosen)}


def states_since_best(metrics: Mapping[str, Any], step: int) -> int:
    """How many states were judged after the best one, up to a step; 0 where none was chosen.

    Args:
        metrics: the content of `swap_metrics.json`.
        step: the last one that counts.
    """
    best = metrics.get("best")
    return 0 if best is None else sum(best["step"] < int(at) <= step for at in metrics["steps"])


def reason(steps: Mapping[int, Moment], before: Moment | None, step: int) -> str:
    """Why a step was chosen, in a few words for the record and the report."""
    known = {at: value for at, moment in steps.items() if (value := _figure(moment, "new", "frechet_distance")) is not None}
    if step not in known:
        recognised = _figure(steps[step], "new", "recognised")
        return "nothing is known of the new class" if recognised is None else f"the new class is recognised in {recognised:.1%}"
    nearest = min(known, key=lambda at: (known[at], -at))
    if known[nearest] == known[step]:
        return f"the smallest distance to the new class, {known[step]:.3g}"
    lost = []
    if old_cost(steps[nearest]) > old_cost(steps[step]):
        lost.append(f"{_figure(steps[nearest], 'old', 'left'):.1%} of its slot still show the old class")
    if remaining_cost(steps[nearest], before) > remaining_cost(steps[step], before):
        lost.append("its remaining labels have suffered more")
    but = " and ".join(lost)
    return f"distance {known[step]:.3g} to the new class; step {nearest} is at {known[nearest]:.3g}" + (
        f", but {but}" if but else ""
    )


def _figure(moment: Moment, part: str, figure: str) -> float | None:
    """A figure of a moment; None where it is not known, or no number."""
    value = moment.get(part, {}).get(figure)
    return value if value is not None and math.isfinite(value) else None
