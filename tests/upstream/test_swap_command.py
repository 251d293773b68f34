"""`rcas swap` runs the real main.py, and the same command again has nothing left to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.record import read_record
from rcas_plugin.watch.observer import read_metrics

from .conftest import Trained, write_config

pytestmark = pytest.mark.slow


def test_from_the_checkpoint_alone(trained: Trained, tmp_path: Path) -> None:
    options = {"--ckpt": trained.checkpoint, "--data": trained.new_data, "--slot": "b", "--new": "d", "-o": tmp_path,
               "--studiogan": trained.studiogan}  # fmt: skip
    command = [sys.executable, "-m", "rcas_plugin.cli", "swap", *(str(part) for pair in options.items() for part in pair)]

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *options], capture_output=True, text=True, check=False)

    shown = run("--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert not list(tmp_path.iterdir())
    assert "swap:\n    b: d" in shown.stdout
    for steps in ("2", "4"):  # the second goes on with the first
        ended = run("--steps", steps)
        assert ended.returncode == 0, ended.stderr[-3000:]
    assert "goes on after step 2" in ended.stdout
    (folder,) = (tmp_path / "checkpoints").iterdir()
    assert f"done: {folder}" in ended.stdout
    assert f"its report: {folder / 'report' / 'report.html'}" in ended.stdout
    assert list(read_metrics(folder)["steps"]) == ["0", "2", "4"]
    assert read_checkpoint(checkpoint_files(folder)["D"])["step"] == 4
    assert read_record(folder).labels == ("a", "d", "c")
    assert read_record(folder).source == str(trained.checkpoint.resolve())
    assert read_record(folder).seconds_per_step > 0
    assert yaml.safe_load((folder / "swap.yaml").read_text())["OPTIMIZATION"]["total_steps"] == 4
    again = run("--steps", "4")
    assert again.returncode == 0
    assert "that swap is done" in again.stdout

    # L4: another method with the same --out starts from the checkpoint that was named, in a folder of its own
    other = run("--method", "fine_tune", "--steps", "2")
    assert other.returncode == 0, other.stderr[-3000:]
    (second,) = set((tmp_path / "checkpoints").iterdir()) - {folder}
    assert f"done: {second}" in other.stdout
    assert (read_record(second).labels, read_record(second).source) == (("a", "d", "c"), str(trained.checkpoint.resolve()))
    assert read_checkpoint(checkpoint_files(folder)["D"])["step"] == 4
    assert [path.parent for path in sorted(tmp_path.rglob("swap.yaml"))] == sorted([folder, second])


def test_what_main_refuses_leaves_no_file(trained: Trained, tmp_path: Path) -> None:
    """L4: a config of another network is refused by main.py itself, and then there is no config and no folder either."""
    config = write_config(tmp_path / "wide.yaml", MODEL={"g_conv_dim": 4})
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rcas_plugin.cli", "swap", "--ckpt", trained.checkpoint, "--data", trained.new_data,
               "--slot", "b", "--new", "d", "-o", out, "--cfg", config, "--steps", "2",
               "--studiogan", trained.studiogan]  # fmt: skip
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "is not of this config's resnet network" in ended.stderr
    assert not out.exists()
