"""One part after another, each in a process and with a time limit of its own."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_check.process import Process
from gpu_check.report import Report, read_part
from gpu_check.setup import Setup

#: Lines of a failed part's output that are kept.
LAST_LINES = 25
#: Seconds without which no part is begun.
LEAST = 5.0


@dataclass(frozen=True)
class Part:
    """One part: the module of its name has its `run`; what it is about, and the most seconds that it may take."""

    name: str
    about: str
    limit: float


#: In the order of their value: a machine may be gone before the last.
PARTS = (
    Part("environment", "versions, the card, a matrix product", 60),
    Part("device_tests", "the tests that have a device in them", 200),
    Part("importance", "importance against its loop, and against the CPU's", 120),
    Part("swaps", "each method through main.py, on both devices", 240),
    Part("steps", "step times and peak memory of one of StudioGAN's configs", 240),
)


def run_parts(
    setup: Setup, parts: list[Part], budget: float, keep: Callable[[dict[str, Any]], object]
) -> dict[str, dict[str, Any]]:
    """Run the parts; returns part -> outcome, seconds, figures, what is wrong.

    Args:
        setup: what the parts are told.
        parts: in their order.
        budget: seconds for all of them.
        keep: called with what there is, after each part.
    """
    start = time.monotonic()
    rows: dict[str, dict[str, Any]] = {}
    for part in parts:
        limit = min(part.limit, budget - (time.monotonic() - start))
        if limit < LEAST:
            rows[part.name] = {"outcome": "not run", "seconds": 0.0, "figures": {}, "wrong": ["no time was left"]}
        else:
            print(f"{part.name}: {part.about} (at most {limit:.0f} s)", flush=True)
            rows[part.name] = _run(setup, part, limit)
        row = rows[part.name]
        print("\n  ".join([f"{part.name}: {row['outcome']}, {row['seconds']:.0f} s", *row["wrong"]]), flush=True)
        keep(rows)
    return rows


def _run(setup: Setup, part: Part, limit: float) -> dict[str, Any]:
    file, log = setup.work / f"{part.name}.json", setup.work / f"{part.name}.log"
    start = time.monotonic()
    code = Process(run_part, (part.name, setup, file), log, forked=setup.reduced, group=True).wait(limit)
    found = read_part(file)
    wrong = list(found["wrong"])
    if code is None:
        wrong.append(f"its time, {limit:.0f} s, was over")
    elif code:
        wrong.append(f"exit code {code}")
    row = {"outcome": "failed" if wrong else "passed", "seconds": round(time.monotonic() - start, 1), **found, "wrong": wrong}
    if wrong and log.is_file():
        row["last_lines"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    return row


def run_part(name: str, setup: Setup, file: Path) -> None:
    """What a part's process does."""
    report = Report(file)
    importlib.import_module(f"gpu_check.{name}").run(setup, report)
    report.write()
