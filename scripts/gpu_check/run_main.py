"""main.py under the plugin as a user starts it, with its steps timed: what a process of its own does."""

from __future__ import annotations

import runpy
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gpu_check.timing import synchronise
from rcas_plugin.files import write_json

#: Steps at the start that are left out: kernels are chosen and memory is taken in them.
WARM_UP = 3


class StepTimes:
    """The moments at which the steps of upstream's worker ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def make_worker(self, original: Any) -> Any:
        times = self

        class Worker(original):  # type: ignore[misc]
            def train_generator(self, current_step: int) -> Any:
                loss = super().train_generator(current_step=current_step)
                synchronise(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
                times.moments.append(time.perf_counter())
                return loss

        return Worker

    def figures(self) -> dict[str, Any]:
        """`steps`, `step_seconds` (None where there are too few), `peak_memory_mb` (None without a GPU)."""
        lasted = [after - before for before, after in zip(self.moments, self.moments[1:], strict=False)]
        counted = lasted[WARM_UP:] or lasted
        peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
        return {
            "steps": len(self.moments),
            "step_seconds": round(statistics.median(counted), 5) if counted else None,
            "peak_memory_mb": None if peak is None else round(peak, 1),
        }


def main(figures: Path, studiogan: Path, options: list[str]) -> None:
    """Run `python -m rcas_plugin.studiogan main.py --plugin rcas OPTIONS` in this process, and write `StepTimes.figures`.

    Args:
        figures: the JSON file.
        studiogan: the root of a StudioGAN.
        options: of main.py.
    """
    from rcas_plugin.studiogan.activation import activate
    from rcas_plugin.studiogan.seams import replace

    activate(studiogan / "src")
    times = StepTimes()
    replace("loader.WORKER", "times", times.make_worker)
    sys.argv = ["python -m rcas_plugin.studiogan", str(studiogan / "src" / "main.py"), "--plugin", "rcas", *options]
    try:
        runpy.run_module("rcas_plugin.studiogan", run_name="__main__", alter_sys=True)
    finally:
        write_json(figures, times.figures())
