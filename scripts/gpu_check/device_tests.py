"""The tests that have a device in them, by pytest."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from gpu_check.report import Report
from gpu_check.requirements import ROOT
from gpu_check.setup import Setup

#: What other versions' libraries say of themselves is none of this project's; every other warning stays an error.
IGNORED = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning", "pytest.PytestAssertRewriteWarning")
WARNINGS = tuple(f"-Wignore::{name}" for name in IGNORED)
#: One test of a rehearsal; the suite runs them all by itself.
REHEARSED = ("-k", "test_batch_norm_is_estimated_anew", "tests/test_devices.py")


class Outcomes:
    """A plugin of pytest's that counts, and keeps the names of what failed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1
        if report.failed:
            self.failed.append(f"{report.nodeid}: {report.longreprtext.splitlines()[-1] if report.longreprtext else ''}")


def run(setup: Setup, report: Report) -> None:
    os.chdir(ROOT)
    outcomes = Outcomes()
    chosen = REHEARSED if setup.reduced else ()
    code = pytest.main(["-m", "device", "-q", "-p", "no:cacheprovider", *WARNINGS, *chosen], plugins=[outcomes])
    report.put("counts", dict(outcomes.counts))
    report.put("failed", outcomes.failed)
    report.check(code == 0 and outcomes.counts["passed"] > 0, f"pytest -m device ended with {int(code)}")
