"""Runs of the real main.py, each in a process of its own, on the GPU or without one; and what is read from their folders."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from gpu_check import run_main
from gpu_check.process import Process
from gpu_check.setup import Setup
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.record import read_record

#: Seconds that one run may take.
LIMIT = 150.0


@dataclass(frozen=True)
class MainRuns:
    """Where runs of one StudioGAN go.

    Attributes:
        setup: what every part is told.
        studiogan: its root.
        root: a folder; each run has one of its name there.
    """

    setup: Setup
    studiogan: Path
    root: Path

    def start(self, name: str, config: dict[str, Any], data: Path, options: list[str], ckpt: Path | None, device: str) -> Process:
        """Start a training run; what it says goes to the file `log` in its folder."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        chosen = ["-t", "-metrics", "none", "--seed", "1", "-cfg", str(folder / "config.yaml"), "-data", str(data), "-save",
                  str(folder), *options, *(["-ckpt", str(ckpt)] if ckpt is not None else [])]  # fmt: skip
        environment = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(self._threads)}
        if device == "cpu":
            environment["CUDA_VISIBLE_DEVICES"] = ""
        return Process(run_main.main, (folder / "figures.json", self.studiogan, chosen), folder / "log",
                       forked=self.setup.reduced, environment=environment)  # fmt: skip

    @property
    def _threads(self) -> int:
        return max(1, (os.cpu_count() or 1) // self.setup.jobs)

    def run(
        self, name: str, config: dict[str, Any], data: Path, options: list[str], *, ckpt: Path | None = None, device: str = ""
    ) -> dict[str, Any]:
        """Run to the end; returns what `row` says, with the seconds that it took."""
        start = time.monotonic()
        code = self.start(name, config, data, options, ckpt, device or self.setup.device).wait(LIMIT)
        return {"exit_code": code, "seconds": round(time.monotonic() - start, 1), **self.row(name, code)}

    def interrupt(self, name: str, config: dict[str, Any], data: Path, options: list[str], ckpt: Path) -> int | None:
        """Start a run and press Ctrl-C once it has saved a checkpoint; its exit code, None where that did not come."""
        process = self.start(name, config, data, options, ckpt, self.setup.device)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and process.runs:
            if list((self.root / name).glob("checkpoints/*/model=D-current-*.pth")):
                process.interrupt()
                break
            time.sleep(0.1)
        return process.wait(end - time.monotonic())

    def checkpoint(self, name: str) -> Path:
        """The one checkpoint folder of a run."""
        (folder,) = (self.root / name / "checkpoints").iterdir()
        return folder

    def step(self, name: str) -> int:
        """The step that a run has come to."""
        return int(read_checkpoint(checkpoint_files(self.checkpoint(name))["D"])["step"])

    def row(self, name: str, code: int | None) -> dict[str, Any]:
        """Figures of a run that ended; the last lines of what it said where it failed."""
        if code != 0:
            return {"last_lines": self.said(name)}
        figures = json.loads((self.root / name / "figures.json").read_text(encoding="utf-8"))
        states = [read_checkpoint(path)["state_dict"] for path in checkpoint_files(self.checkpoint(name)).values()]
        tensors = [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]
        return {
            "step": self.step(name),
            "labels": list(read_record(self.checkpoint(name)).labels),
            "finite": all(bool(value.isfinite().all()) for value in tensors),
            **figures,
        }

    def said(self, name: str, lines: int = 15) -> list[str]:
        return (self.root / name / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
