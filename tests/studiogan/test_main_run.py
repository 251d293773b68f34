"""The process that runs main.py for the commands."""

from __future__ import annotations

import sys

import pytest
import torch

from rcas_plugin.studiogan.main_run import one_gpu, run_main


@pytest.mark.parametrize(
    ("gpus", "environment", "shown"),
    [
        (0, {}, {}),
        (1, {"CUDA_VISIBLE_DEVICES": "3"}, {}),
        (2, {}, {"CUDA_VISIBLE_DEVICES": "0"}),
        (2, {"CUDA_VISIBLE_DEVICES": "3,1"}, {"CUDA_VISIBLE_DEVICES": "3"}),
    ],
)
def test_main_py_sees_one_gpu_of_several(
    gpus: int, environment: dict[str, str], shown: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert one_gpu(environment) == shown


def test_a_command_has_the_environment_and_that_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    monkeypatch.setenv("RCAS_TEST", "kept")
    look = "import os, sys; sys.exit((os.environ['CUDA_VISIBLE_DEVICES'], os.environ['RCAS_TEST']) != ('5', 'kept'))"
    assert run_main([sys.executable, "-S", "-c", look]) == (0, False)
