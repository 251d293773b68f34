"""The figures of a report."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from rcas_plugin.report.figures import first_to_reach


def group(name: str, *steps: float) -> Any:
    """Runs, a seed each, that are at the level after these steps, a step a second."""
    run = SimpleNamespace(steps={0: {"elapsed_s": 0.0}, 100: {"elapsed_s": 100.0}})
    return SimpleNamespace(name=name, runs=[run] * len(steps), steps_to=lambda level: list(steps))


def test_the_quicker_method_is_named_first_however_many_seeds_it_has() -> None:
    sentence = first_to_reach([group("slow", 100.0), group("quick", 50.0, 40.0, 60.0)], 3.0)
    assert sentence.startswith("At a distance of 3 to the new class: quick after 40 to 60 steps")
    assert sentence.index("quick") < sentence.index("slow after 100 steps")
