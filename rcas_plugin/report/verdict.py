"""The sentence that a report begins with: the best state, which the run keeps, and what training made of the start."""

from __future__ import annotations

from rcas_plugin.metrics.best import NOISE, TOLERANCE, costs, old_cost, remaining_cost
from rcas_plugin.report.runs import Run

#: What the verdict calls there, gone and intact: the part of its images that shows the new class, the part that shows the old
#: one, and what the remaining labels may lose.
THERE, GONE, LOST = 0.8, 0.05, 0.02


def verdict(run: Run) -> str:
    """A sentence that says, of the best state, whether the new class is there, the old one gone, and the others intact; which
    step that is; and where training made it worse, that it did."""
    kept, before = run.kept, run.metrics.get("before", {})
    slots = run.metrics["slots"].values()
    news, olds = (" and ".join(str(slot[which]) for slot in slots if slot[which] is not None) for which in ("new", "old"))
    recognised = kept["new"].get("recognised")
    there = "cannot be judged" if recognised is None else "is there" if recognised >= THERE else "is only partly there"
    if recognised is not None and recognised < 0.2:
        there = "is not there"
    parts = [f"the new class {news} {there}"]
    if kept["old"]:
        left = kept["old"].get("left")
        parts.append(f"the old class {olds} is {'gone' if left is not None and left <= GONE else 'not gone'}")
    rest = kept["remaining"].get("recognised")
    if rest is not None:
        was = before.get("remaining", {}).get("recognised")
        intact = (was is None or rest >= was - LOST) and remaining_cost(kept, before) == 1
        parts.append(f"the remaining labels {'are intact' if intact else 'have suffered'}")
    sentence = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    clauses = [*_which(run), *_worse(run), *(["the run ended by itself"] if run.stopped else [])]
    return f"{sentence[0].upper()}{sentence[1:]}{': ' if clauses else ''}{'; '.join(clauses)}."


def _which(run: Run) -> list[str]:
    """Which step the best state is; nothing where none is recorded."""
    step, last = run.best_step, max(run.steps)
    if step is None:
        return []
    if step == 0:
        return ["kept is step 0, right after preparation"]
    return [f"kept is step {step}, the last" if step == last else f"kept is step {step} of {last}"]


def _worse(run: Run) -> list[str]:
    """Clauses where a run ended worse than its start, or keeps a state that is farther from the new class."""
    last, step = max(run.steps), run.kept_step
    if 0 not in run.steps or last == 0:
        return []
    of_step = costs(run.steps, run.metrics.get("before"))
    clauses = []
    if of_step[last] > of_step[0] * (1 if step == 0 else 1 + NOISE):
        what = "it ended worse than it began" if 0 < step < last else "training made it worse"
        clauses.append(f"{what} ({_change(run, last)})")
    start, kept = (run.curve("new", "frechet_distance").get(at) for at in (0, step))
    if not (clauses and step == last) and start is not None and kept is not None and kept > start * (1 + NOISE):
        clauses.append(f"it is farther from the new class than step 0 was ({_two(start, kept)}), {_lost(run, step)}")
    return clauses


def _change(run: Run, last: int) -> str:
    """What got worse between step 0 and the last one, in figures."""
    before = run.metrics.get("before", {})
    start, end = run.steps[0], run.steps[last]
    distance, recognised = run.curve("new", "frechet_distance"), run.curve("new", "recognised")
    changes = []
    if last not in (distance or recognised):
        return "at its end nothing is known of the new class"
    if 0 in distance and distance[last] > distance[0]:
        changes.append(f"distance {_two(distance[0], distance[last])}")
    elif not distance and 0 in recognised and recognised[last] < recognised[0]:
        changes.append(f"recognised {recognised[0]:.1%} to {recognised[last]:.1%}")
    left = run.curve("old", "left")
    if old_cost(end) > old_cost(start) and 0 in left:
        changes.append(f"old class left {left[0]:.1%} to {left[last]:.1%}")
    if remaining_cost(end, before) > remaining_cost(start, before):
        rest = run.curve("remaining", "frechet_distance")
        known = f"' distance {_two(rest[0], rest[last])}" if {0, last} <= set(rest) else " lost more"
        changes.append(f"the remaining labels{known}")
    return ", ".join(changes)


def _lost(run: Run, step: int) -> str:
    """What step 0 lacks beside a state that is farther from the new class."""
    if old_cost(run.steps[0]) > old_cost(run.steps[step]):
        return f"where {run.steps[0]['old']['left']:.1%} of the slot still showed the old class"
    return f"where the remaining labels were over {TOLERANCE} times as far off as before the swap"


def _two(start: float, end: float) -> str:
    return f"{start:.3g} to {end:.3g}"
