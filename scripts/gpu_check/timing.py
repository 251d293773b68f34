"""Seconds of work that a GPU does on its own account."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def median_seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """The median of so many runs, after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def synchronise(device: torch.device) -> None:
    """Wait for a GPU's work; a CPU's is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
