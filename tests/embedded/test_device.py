"""Runs from image folders to checkpoints on a device other than the CPU end in the files that they end in there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from rcas_plugin import gan
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded import loop, steps
from rcas_plugin.watch.observer import read_metrics

from ..fixtures.toy import write_images

pytestmark = [pytest.mark.device, pytest.mark.usefixtures("short_runs")]

CONFIG: dict[str, Any] = {
    "DATA": {"name": "toy", "img_size": 16, "num_classes": 3},
    "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1, "apply_g_ema": True, "g_ema_start": 0},
    "OPTIMIZATION": {"batch_size": 8, "beta1": 0.0, "d_updates_per_step": 1},
}
SECTIONS: dict[str, dict[str, Any]] = {
    "class_swap": {"remaining_data": "replay", "label_start": {"iterations": 2}},
    "rcas": {"preset": "rcas", "importance": {"samples": 6}, "bn_batches": 2},
    "bn_propagation": {"label_start": {"iterations": 2}, "stages": {"bn": 2}},
    "gan_memory": {},
    "piggyback": {},
    "feature_replay": {"warm_up": 2, "r1": {"every": 2}, "train_classifier": {"epochs": 1, "images": 6, "width": 2, "depth": 1}},
}


def config(folder: Path, steps: int, **sections: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, "OPTIMIZATION": {**CONFIG["OPTIMIZATION"], "total_steps": steps}, **sections}))
    return path


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    write_images(tmp_path / "before", "abc")
    write_images(tmp_path / "data", "abcd")
    return loop.train(config(tmp_path, 2), tmp_path / "before", tmp_path / "pretrained", progress=False)


def alike(found: Any, expected: Any, where: str) -> None:
    """The same names, and tensors up to a GPU's rounding, all read onto the CPU."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            alike(found[key], value, f"{where}.{key}")
    elif isinstance(expected, Tensor):
        assert found.device.type == "cpu"
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2, msg=lambda text: f"{where}: {text}")


@pytest.mark.slow
@pytest.mark.parametrize("name", SECTIONS)
def test_a_swap_that_goes_on(
    name: str, pretrained: Path, tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[torch.device] = []

    class Watched(steps.Loop):
        def step(self, step: int) -> None:
            places.append(self.device)
            super().step(step)

    monkeypatch.setattr(loop, "Loop", Watched)
    section = {"method": "class_swap" if name == "rcas" else name, "swap": {"b": "d"}, "swap_metrics": 4, "snapshot_images": 2,
               **SECTIONS[name]}  # fmt: skip
    runs = {}
    for place in (torch.device("cpu"), device):
        where = {"progress": False, "save_freq": 2, "device": place}
        out = tmp_path / place.type
        begun = loop.train(config(tmp_path, 2, RCAS=section), tmp_path / "data", out, pretrained, **where)
        runs[place] = loop.train(config(tmp_path, 4, RCAS=section), tmp_path / "data", out, begun, **where)
        assert runs[place] == begun
    assert places == [torch.device("cpu")] * 4 + [device] * 4
    expected, found = (Checkpoint.read(run) for run in runs.values())
    assert found.step == expected.step == 4
    alike(dict(found.contents), dict(expected.contents), "checkpoint")
    assert list(read_metrics(runs[device])["steps"]) == ["0", "2", "4"], "it is judged there as well"


def test_pre_training_takes_the_device_that_there_is(
    pretrained: Path, tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(loop, "default_device", lambda: asked.append(device) or device)
    run = loop.train(config(tmp_path, 2), tmp_path / "before", tmp_path / "again", progress=False)
    assert asked == [device]
    alike(dict(Checkpoint.read(run).states), dict(Checkpoint.read(pretrained).states), "states")


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, name in ((False, "cpu"), (True, "cuda:0")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert gan.default_device() == torch.device(name)
