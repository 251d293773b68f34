"""The head of a results file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rcas_plugin.watch.machine import describe_run


def test_a_command_holds_no_path_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        str(tmp_path / "scripts" / "grid.py"),
        "--mnist",
        "/somewhere/data/mnist.npz",
        "--out",
        "outputs/grid",
        "--seeds",
        "3",
    ]
    monkeypatch.setattr(sys, "argv", words)
    assert describe_run()["command"] == "python scripts/grid.py --mnist mnist.npz --out outputs/grid --seeds 3"
