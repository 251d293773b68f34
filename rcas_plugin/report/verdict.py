"""The sentence that a report begins with."""

from __future__ import annotations

from rcas_plugin.report.runs import Run

#: What the verdict calls there, gone and intact: the part of its images that shows the new class, the part that shows the old
#: one, and what the remaining labels may lose.
THERE, GONE, LOST = 0.8, 0.05, 0.02


def verdict(run: Run) -> str:
    """A sentence that says whether the new class is there, the old one gone, and the others intact."""
    last, before = run.last, run.metrics.get("before", {})
    slots = run.metrics["slots"].values()
    news, olds = (" and ".join(str(slot[which]) for slot in slots if slot[which] is not None) for which in ("new", "old"))
    recognised = last["new"].get("recognised")
    there = "cannot be judged" if recognised is None else "is there" if recognised >= THERE else "is only partly there"
    if recognised is not None and recognised < 0.2:
        there = "is not there"
    parts = [f"the new class {news} {there}"]
    if last["old"]:
        left = last["old"].get("left")
        parts.append(f"the old class {olds} is {'gone' if left is not None and left <= GONE else 'not gone'}")
    rest = last["remaining"].get("recognised")
    if rest is not None:
        was = before.get("remaining", {}).get("recognised")
        parts.append(
            "the remaining labels are intact" if was is None or rest >= was - LOST else "the remaining labels have suffered"
        )
    sentence = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    return sentence[0].upper() + sentence[1:] + "."
