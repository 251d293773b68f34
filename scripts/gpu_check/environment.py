"""Versions, the card, and a matrix product that shows that it computes."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess

import torch

from gpu_check.report import Report
from gpu_check.setup import Setup
from gpu_check.timing import median_seconds


def run(setup: Setup, report: Report) -> None:
    report.put("python", platform.python_version())
    report.put("torch", torch.__version__)
    report.put("cuda", torch.version.cuda)
    report.put("cores", os.cpu_count())
    report.put("bfloat16", torch.cuda.is_available() and torch.cuda.is_bf16_supported())
    report.put("tf32_in_convolutions", torch.backends.cudnn.allow_tf32)
    if setup.device == "cuda":
        about = torch.cuda.get_device_properties(0)
        report.put("card", about.name)
        report.put("card_memory_mb", about.total_memory // 2**20)
        report.put("cudnn", torch.backends.cudnn.version())
        report.put("driver", _driver())
        report.put("nvcc", shutil.which("nvcc") is not None)  # StyleGAN's own layers are compiled with it
    size = 256 if setup.reduced else 4096
    a, b = (torch.randn(size, size, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    here, there = a @ b, (a.to(setup.device) @ b.to(setup.device)).cpu()
    error = float((there - here).norm() / here.norm())
    report.put("matmul_relative_to_the_cpu", error)
    report.check(error < 1e-2, f"a matrix product differs from the CPU's by a relative {error:.1e}")
    for dtype in (torch.float32, torch.bfloat16):
        x, y = a.to(setup.device, dtype), b.to(setup.device, dtype)
        seconds = median_seconds(lambda x=x, y=y: x @ y, torch.device(setup.device), 3 if setup.reduced else 20)  # type: ignore[misc]
        report.put(f"matmul_tflops_{str(dtype).removeprefix('torch.')}", round(2 * size**3 / seconds / 1e12, 3))


def _driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
