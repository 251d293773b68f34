"""A process that is killed while it writes a checkpoint: the next start goes on, and nothing of the half file stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint

from .conftest import TRAIN, Trained, run_main

pytestmark = pytest.mark.slow

#: Runs main.py, and kills the process when half of its sixth file of weights is written.
KILLED = """
import os, runpy, signal, sys
import torch
save, left = torch.save, [6]

def half(content, path, *args, **options):
    save(content, path, *args, **options)
    left[0] -= 1
    if not left[0]:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = half
runpy.run_module("rcas_plugin.studiogan", run_name="__main__", alter_sys=True)
"""


def hidden(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob(".*") if path.is_file())


def test_a_kill_in_the_middle_of_a_checkpoint(trained: Trained, tmp_path: Path) -> None:
    """S4: a run that was killed half-way through a checkpoint goes on from whole ones, and its half file is gone."""
    config = trained.swap_config(tmp_path / "swap.yaml", steps=6)
    options = [*TRAIN, "-cfg", config, "-data", trained.new_data, "-save", tmp_path / "out"]
    main = [str(trained.studiogan / "src" / "main.py"), "--plugin", "rcas", *map(str, options), "-ckpt", str(trained.checkpoint)]
    ended = subprocess.run([sys.executable, "-c", KILLED, *main], capture_output=True, text=True, check=False)
    assert ended.returncode == -9, ended.stdout[-2000:] + ended.stderr[-2000:]
    (run,) = (tmp_path / "out" / "checkpoints").iterdir()
    (half,) = hidden(run)
    assert half.endswith(".pth")
    goes_on = run_main(trained.studiogan, *options, "-ckpt", run)
    assert "goes on in" in goes_on.stdout
    assert "rcas: removed 1 half-written files of interrupted runs" in goes_on.stdout
    assert read_checkpoint(checkpoint_files(run)["D"])["step"] == 6
    assert not hidden(tmp_path)
