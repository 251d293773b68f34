"""The second judge beside the first in a report, and whether they rank the runs alike."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from rcas_plugin.metrics.curves import mean_interval
from rcas_plugin.report.figures import as_text
from rcas_plugin.report.runs import Group, Interval

#: The figures that are shown: part, figure, and how a table calls it.
SHOWN = (
    ("new", "recognised", "new class recognised"),
    ("new", "frechet_distance", "distance to the new class"),
    ("old", "left", "old class left"),
    ("remaining", "recognised", "remaining labels recognised"),
    ("remaining", "frechet_distance", "distance of the remaining"),
)


def second_rows(groups: Sequence[Group]) -> list[list[str]]:
    """Two rows for each group whose runs all have a second judge: the name, the judge, then `SHOWN` at the runs' best states."""
    rows = []
    for group in groups:
        if not _judged_twice(group):
            continue
        by_first = [as_text(figure, group.at_best(part, figure)) for part, figure, _ in SHOWN]
        by_second = [as_text(figure, _by_second(group, part, figure)) for part, figure, _ in SHOWN]
        rows += [[group.name, "first", *by_first], [group.name, "second", *by_second]]
    return rows


def agreement(groups: Sequence[Group]) -> str:
    """A sentence that says whether both judges rank the groups alike; empty where under two groups have both."""
    both = [group for group in groups if _judged_twice(group)]
    if len(both) < 2:
        return ""
    sentences = []
    for part, what in (("new", "the distance to the new class"), ("remaining", "the distance of the remaining labels")):
        pairs = [
            (group.name, group.at_best(part, "frechet_distance"), _by_second(group, part, "frechet_distance")) for group in both
        ]
        known = [(name, first[0], second[0]) for name, first, second in pairs if first is not None and second is not None]
        if len(known) < 2:
            continue
        by_first, by_second = ([row[0] for row in sorted(known, key=itemgetter(at))] for at in (1, 2))
        if by_first == by_second:
            sentences.append(f"Both judges rank the runs alike by {what}: {', '.join(by_first)}.")
        else:
            sentences.append(
                f"The judges differ by {what}, best first: the first says {', '.join(by_first)}; "
                f"the second {', '.join(by_second)}."
            )
    return " ".join(sentences)


def _judged_twice(group: Group) -> bool:
    return all("second" in run.kept for run in group.runs)


def _by_second(group: Group, part: str, figure: str) -> Interval | None:
    """As `Group.at_best`, by the second judge."""
    values = [run.kept["second"][part].get(figure) for run in group.runs]
    known = [value for value in values if value is not None]
    return mean_interval(known) if known else None
