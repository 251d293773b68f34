"""One part after another, each in a process and with a time limit of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_check.report import read_part
from gpu_check.requirements import ROOT
from gpu_check.setup import Setup

#: Lines of a failed part's output that are kept.
LAST_LINES = 25
#: Seconds without which no part is begun.
LEAST = 5.0


@dataclass(frozen=True)
class Part:
    """One part: its name, what it is about, and the most seconds that it may take."""

    name: str
    about: str
    limit: float


#: In the order of their value: a machine may be gone before the last.
PARTS = (
    Part("environment", "versions, the card, a matrix product", 60),
    Part("tests", "the tests that have a device in them", 200),
    Part("importance", "importance against its loop, and against the CPU's", 120),
    Part("swaps", "each method through main.py, on both devices", 240),
    Part("steps", "step times and peak memory of one of StudioGAN's configs", 240),
)


def run_parts(setup: Setup, names: list[str], budget: float, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run the parts; returns part -> outcome, seconds, figures, what is wrong.

    Args:
        setup: what the parts are told.
        names: of the parts.
        budget: seconds for all of them.
        keep: called with what there is, after each part.
    """
    start, rows = time.monotonic(), {}
    for part in (part for part in PARTS if part.name in names):
        left = budget - (time.monotonic() - start)
        if left < LEAST:
            rows[part.name] = {"outcome": "not run", "wrong": ["no time was left"], "figures": {}, "seconds": 0.0}
        else:
            print(f"{part.name}: {part.about} (at most {min(part.limit, left):.0f} s)", flush=True)
            rows[part.name] = _run(setup, part, min(part.limit, left))
            print(f"{part.name}: {rows[part.name]['outcome']}, {rows[part.name]['seconds']:.0f} s", flush=True)
            for line in rows[part.name]["wrong"]:
                print(f"  {line}", flush=True)
        keep(rows)
    return rows


def _run(setup: Setup, part: Part, limit: float) -> dict[str, Any]:
    file, log = setup.work / f"{part.name}.json", setup.work / f"{part.name}.log"
    command = [sys.executable, str(ROOT / "scripts" / "gpu.py"), "--run-part", part.name, setup.dump(), str(file)]
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started
                process.wait()
    found = read_part(file)
    wrong = list(found["wrong"])
    if code is None:
        wrong.append(f"its time, {limit:.0f} s, was over")
    elif code:
        wrong.append(f"exit code {code}")
    row = {"outcome": "failed" if wrong else "passed", "seconds": round(time.monotonic() - start, 1), **found, "wrong": wrong}
    if wrong:
        row["last_lines"] = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    return row
