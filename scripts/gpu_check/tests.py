"""The tests that have a device in them, by pytest."""

from __future__ import annotations

import re
import subprocess
import sys

from gpu_check.report import Report
from gpu_check.requirements import ROOT
from gpu_check.setup import Setup

#: What other versions' libraries say of themselves is none of this project's; every other warning stays an error.
WARNINGS = ("-Wignore::DeprecationWarning", "-Wignore::PendingDeprecationWarning", "-Wignore::FutureWarning")
#: One test of a rehearsal, in which the suite runs them all by itself.
REHEARSED = "test_batch_norm_is_estimated_anew"


def run(setup: Setup, report: Report) -> None:
    command = [sys.executable, "-m", "pytest", "-m", "device", "-q", "-p", "no:cacheprovider", *WARNINGS]
    if setup.reduced:
        command += ["-k", REHEARSED, "tests/test_devices.py"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(ended.stdout[-20000:], ended.stderr[-5000:])
    lines = ended.stdout.strip().splitlines() or [""]
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", lines[-1])}
    report.put("counts", counts)
    report.put("failed", [line for line in lines if line.startswith(("FAILED", "ERROR"))])
    report.check(ended.returncode == 0 and counts.get("passed", 0) > 0, f"pytest -m device: {lines[-1]}")
