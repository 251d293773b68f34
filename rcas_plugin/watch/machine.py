"""The facts of a run for a results file: machine, versions, commit, command, date."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from pathlib import Path

import torch

from rcas_plugin.repository import commit


def describe_run() -> dict[str, object]:
    """Machine, versions, commit, command and date, for the head of a results file."""
    return {
        "machine": machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(),
        "command": shlex.join(["python", *map(_shown, sys.argv)]),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def machine() -> str:
    """Processor (or GPU) and the cores that torch uses, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_processor()}, {cores} cores, no GPU"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _shown(argument: str) -> str:
    """A word of a command as anybody can repeat it: a path of this machine only as far as it lies in the working folder."""
    path = Path(argument)
    if not path.is_absolute():
        return argument
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name
