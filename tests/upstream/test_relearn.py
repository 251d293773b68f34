"""`rcas relearn` through the real main.py: two swaps from a run that stays as it was, and no second training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin import cli
from rcas_plugin.studiogan.relearn import RESULT
from rcas_plugin.studiogan.swap_command import plan_swap

from .conftest import Trained

pytestmark = pytest.mark.slow


def test_the_old_class_is_brought_back_twice(
    trained: Trained, upstream: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at = ["--studiogan", str(trained.studiogan)]
    swap = ["swap", "--ckpt", str(trained.checkpoint), "--data", str(trained.new_data), "--slot", "b", "--new", "d",
            "--method", "fine_tune", "--steps", "2", "-o", str(tmp_path / "swap"), *at]  # fmt: skip
    assert cli.main(swap) == 0
    run = plan_swap(trained.studiogan, trained.checkpoint, trained.new_data, "b", "d", tmp_path / "swap", method="fine_tune",
                    steps=2).run  # fmt: skip
    assert run is not None
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    command = ["relearn", str(run), "--data", str(trained.new_data), "-o", str(tmp_path / "out"), "--steps", "4", "--every", "2",
               "--fresh", "c", *at]  # fmt: skip
    assert cli.main(command) == 0
    figures = json.loads((tmp_path / "out" / RESULT).read_text())
    assert figures["class"] == "b"
    assert figures["slots"] == {"relearned": "d", "fresh": "c"}
    assert {name: set(curve) for name, curve in figures["curves"].items()} == {key: {"0", "2", "4"} for key in figures["slots"]}
    assert "b is recognised in" in capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before, "the run is only read"
    runs = sorted((tmp_path / "out" / "checkpoints").iterdir())
    assert len(runs) == 2
    assert cli.main(command) == 0
    assert sorted((tmp_path / "out" / "checkpoints").iterdir()) == runs, "what is done is done"
    assert json.loads((tmp_path / "out" / RESULT).read_text()) == figures
