"""The grid of `rcas classify`: data sets unpacked once, each plan run by the command."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def test_data_are_unpacked_and_each_plan_is_run(
    tmp_path: Path, load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = load_script("bench_classify")
    labels = np.arange(20) % 10
    images = np.full((20, 28, 28), 7, np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    with zipfile.ZipFile(tmp_path / "tiles.zip", "w") as archive:
        archive.writestr("train/crack/1.png", b"1")
        archive.writestr("valid/crack/2.png", b"2")
    commands: list[list[str]] = []

    def run(command: list[str]) -> int:
        commands.append(command)
        out = Path(command[command.index("-o") + 1])
        out.mkdir()
        (out / "classify.json").write_text("{}")
        return 0

    monkeypatch.setattr(bench.cli, "main", run)
    out = tmp_path / "out"
    data = ["--mnist", str(tmp_path / "mnist.npz"), "--tiles", str(tmp_path / "tiles.zip")]
    assert bench.main([*data, "--seeds", "2", "--strategies", "joint", "--out", str(out)]) == 0
    assert [Path(command[1]).stem for command in commands] == ["mnist_5x2", "tiles_3_1"]
    assert all(command[-4:] == ["--seeds", "2", "--strategies", "joint"] for command in commands)
    assert [len(list((out / "data" / "mnist" / part / "3").iterdir())) for part in ("train", "valid")] == [2, 1]
    assert (out / "data" / "tiles" / "train" / "crack" / "1.png").read_bytes() == b"1"
    assert set(json.loads((out / "bench_classify.json").read_text())["plans"]) == {"mnist_5x2", "tiles_3_1"}


def test_an_interruption_ends_the_grid(
    tmp_path: Path, load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = load_script("bench_classify")
    (tmp_path / "out" / "data" / "cifar").mkdir(parents=True)
    monkeypatch.setattr(bench.cli, "main", lambda command: 130)
    assert bench.main(["--cifar", str(tmp_path / "cifar.zip"), "--out", str(tmp_path / "out")]) == 130
    assert not (tmp_path / "out" / "bench_classify.json").exists()
