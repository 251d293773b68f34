"""Cures that need no upstream module."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rcas_plugin.studiogan.cures import apply_cures, stack


def run(code: str, **environment: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **environment})  # fmt: skip
    return ended.stdout.strip()


@pytest.mark.slow
def test_pkg_resources_where_it_is_missing() -> None:
    code = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "pkg_resources" else found(name, *more)
sys.modules.pop("pkg_resources", None)
from rcas_plugin.studiogan.cures.stack import pkg_resources_stand_in
pkg_resources_stand_in()
from pkg_resources import parse_version
print(parse_version("1.11.0a") < parse_version("2.15.0+cu130"))
"""
    assert run(code) == "True"


def test_wandb_is_offline_unless_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_SILENT"):
        monkeypatch.delenv(name, raising=False)
    import os

    with monkeypatch.context() as here:
        here.setenv("WANDB_API_KEY", "x" * 40)
        stack.wandb_offline_unless_configured()
        assert "WANDB_MODE" not in os.environ
    with monkeypatch.context() as here:
        here.setenv("WANDB_MODE", "online")
        stack.wandb_offline_unless_configured()
        assert os.environ["WANDB_MODE"] == "online"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password x\n")
    (tmp_path / ".netrc").chmod(0o600)
    stack.wandb_offline_unless_configured()
    assert "WANDB_MODE" not in os.environ
    (tmp_path / ".netrc").unlink()
    stack.wandb_offline_unless_configured()
    assert os.environ["WANDB_MODE"] == "offline"


def test_upstreams_loads_take_numpy_scalars_and_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F1: the cure makes upstream's own loads safe on every torch; what is safe is held by tests/test_safe_load.py."""
    monkeypatch.setattr(torch, "load", torch.load)  # put back afterwards
    stack.safe_loads()
    content = {"best_fid": np.float64(3.5), "n": np.int64(2), "flag": np.bool_(True), "half": np.float32(0.5)}
    torch.save(content, tmp_path / "x.pth")
    assert torch.load(tmp_path / "x.pth") == content
    torch.save({"x": Path}, tmp_path / "code.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "code.pth")


@pytest.mark.slow
def test_gpu_devices_are_the_cpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    code = """
import torch
from rcas_plugin.studiogan.cures import apply_cures
for _ in range(2):
    apply_cures("early", cpu=True)
x = torch.zeros(2, device=0) + torch.tensor([1.0, 2.0], device="cuda")
x = x + torch.ones(2).to(0).to("cuda:0", non_blocking=True).cuda()
net = torch.nn.Linear(2, 2).to(0).to("cuda").cuda()
assert net(x).device.type == "cpu" and torch.ones(2).to(torch.float64).dtype == torch.float64
assert net.to(torch.float64).weight.dtype == torch.float64
torch.cuda.set_device(0)
print(torch.cuda.device_count(), torch.cuda.current_device(), torch.cuda.is_available())
"""
    assert run(code) == "1 0 False"
    assert run(code, RCAS_CPU_PROCESSES="2") == "2 0 False"


def test_gpu_cures_stay_out_where_there_is_a_gpu() -> None:
    names = apply_cures("early", cpu=False)
    assert "pkg_resources_stand_in" in names
    assert "cpu_devices" not in names


@pytest.mark.parametrize(("code", "quiet"), [(2, True), (130, True), (1, False)])
def test_a_parent_ends_as_its_process_did(monkeypatch: pytest.MonkeyPatch, code: int, quiet: bool) -> None:
    """L10: where a process of a -DDP run has said what is wrong, its parent says no more; any other end stays a traceback."""
    processes = torch.multiprocessing

    class Context:
        def join(self, timeout: float | None = None) -> bool:
            raise processes.ProcessExitedException("gone", error_index=0, error_pid=1, exit_code=code)

    monkeypatch.setattr(processes, "spawn", lambda fn, join=True: None if join else Context())
    stack.parents_end_as_their_processes()
    stack.parents_end_as_their_processes()
    assert processes.spawn(print) is None
    with pytest.raises(SystemExit if quiet else processes.ProcessExitedException) as ended:
        processes.spawn(print, join=False).join()
    assert getattr(ended.value, "code" if quiet else "exit_code") == code


def test_a_parent_waits_for_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """D1: upstream asks once and kills what has not ended; the first process may still be writing its last checkpoint then."""
    answers = [False, False, True]

    class Context:
        def join(self, timeout: float | None = None) -> bool:
            return answers.pop(0)

    monkeypatch.setattr(torch.multiprocessing, "spawn", lambda fn, join=True: Context())
    stack.parents_end_as_their_processes()
    assert torch.multiprocessing.spawn(print, join=False).join(timeout=0.1) is False
    assert torch.multiprocessing.spawn(print, join=False).join() is True
    assert not answers
