"""Pre-training and a swap on the embedded networks, from image folders to checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from rcas_plugin import RcasError, Selection
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.embedded import loop, steps
from rcas_plugin.embedded.data import read_images
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.record import read_record
from rcas_plugin.watch.observer import read_metrics
from rcas_plugin.watch.snapshots import load_snapshot, moments

CONFIG = {
    "DATA": {"name": "toy", "img_size": 32, "num_classes": 3},
    "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
    "OPTIMIZATION": {"batch_size": 4, "beta1": 0.0, "total_steps": 3},
}

pytestmark = pytest.mark.usefixtures("short_runs")


def write(folder: Path, **sections: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **sections}))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for index, name in enumerate("abcd"):
        folder = tmp_path / "data" / "train" / name
        folder.mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((8, 8), 60 * index, np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "data"


def test_a_swap_from_nothing(tmp_path: Path, data: Path) -> None:
    (data / "train" / "d").rename(tmp_path / "d")
    pretrained = loop.train(write(tmp_path), data, tmp_path / "out", progress=False)
    assert read_record(pretrained).labels == ("a", "b", "c")
    files = {path: path.read_bytes() for path in pretrained.iterdir()}
    (tmp_path / "d").rename(data / "train" / "d")

    rcas = {"swap": {"b": "d"}, "importance": {"samples": 4}, "snapshot_images": 2, "swap_metrics": 0, "preset": "rcas"}
    run = loop.train(write(tmp_path, RCAS=rcas), data, tmp_path / "out", pretrained, save_freq=2, progress=False)
    assert "class_swap" in run.name
    assert read_record(run).labels == ("a", "d", "c")
    assert Selection.load(run / "selection.safetensors").fraction("generator") > 0
    assert list(moments(run)) == [0, 2, 3]
    assert not torch.equal(load_snapshot(run, "before")[0], load_snapshot(run, "reinit")[0])
    assert {p.name for p in run.glob("*.pth")} == {f"model={n}-{w}-weights-step=3.pth" for n in "GD" for w in ("best", "current")}
    content = read_checkpoint(checkpoint_files(run)["D"])
    assert content["step"] == 3
    assert {path: path.read_bytes() for path in pretrained.iterdir()} == files, "the pre-trained checkpoint is not touched"


def test_a_swap_needs_a_checkpoint(tmp_path: Path, data: Path) -> None:
    with pytest.raises(RcasError, match="-ckpt is missing"):
        loop.train(write(tmp_path, RCAS={"swap": {0: 1}}), data, tmp_path / "out", progress=False)


def test_other_backbones_are_refused(tmp_path: Path, data: Path) -> None:
    path = write(tmp_path, MODEL={"backbone": "big_resnet"})
    with pytest.raises(RcasError, match="other backbones need StudioGAN"):
        loop.load_gan(path, None)


def test_class_swap_as_it_comes_matches_the_slot(tmp_path: Path, data: Path) -> None:
    (data / "train" / "d").rename(tmp_path / "d")
    pretrained = loop.train(write(tmp_path), data, tmp_path / "out", progress=False)
    (tmp_path / "d").rename(data / "train" / "d")
    rcas = {"swap": {"b": "d"}, "snapshot_images": 2, "swap_metrics": 0, "label_start": {"iterations": 3, "batch_size": 4}}
    run = loop.train(write(tmp_path, RCAS=rcas), data, tmp_path / "out", pretrained, progress=False)
    (before, labels), (start, _) = (load_snapshot(run, moment) for moment in ("before", "reinit"))
    assert torch.equal(before[labels != 1], start[labels != 1])
    assert not torch.equal(before[labels == 1], start[labels == 1])


def test_updates_of_the_discriminator_a_step(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    options = {"batch_size": 2, "d_updates_per_step": 3}
    images, labels = torch.zeros(4, 3, 32, 32), torch.arange(4)
    training = steps.Loop(gan, images, labels, labels, options, torch.Generator().manual_seed(0))
    judged: list[int] = []
    pair[1].register_forward_pre_hook(lambda module, args: judged.append(len(args[0])))
    training.step(0)
    assert len(judged) == 3 * 2 + 1, "real and fake images three times, then G's turn"


def test_the_config_accelerates_a_swap(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "train" / "d").rename(tmp_path / "d")
    pretrained = loop.train(write(tmp_path), data, tmp_path / "out", progress=False)
    (tmp_path / "d").rename(data / "train" / "d")
    accelerated: list[object] = []
    monkeypatch.setattr(steps, "accelerate", lambda *models: accelerated.extend(models))
    for wanted in (False, True):
        rcas = {"swap": {"b": "d"}, "method": "fine_tune", "snapshot_images": 0, "swap_metrics": 0, "accelerate": wanted}
        loop.train(write(tmp_path, RCAS=rcas), data, tmp_path / "out", pretrained, progress=False)
        assert len(accelerated) == (2 if wanted else 0)


def test_images_are_read_as_main_py_would(tmp_path: Path, data: Path) -> None:
    """L7 L10: the embedded loop has the same look, listing and loader: centre square, 16 bits, hidden folders, broken files."""
    train = data / "train"
    (train / ".ipynb_checkpoints").mkdir()
    (train / "c" / "0.png").unlink()
    wide = np.zeros((8, 16), np.uint16)
    wide[:, 4:12] = 60 * 257
    for name in "012":
        Image.fromarray(wide).save(train / "c" / f"{name}.png")
    images, targets, classes = read_images(train, 32)
    assert classes.names == ("a", "b", "c", "d")
    assert classes.counts == (3, 3, 3, 3)
    torch.testing.assert_close(images[targets == 2], torch.full((3, 3, 32, 32), 60 / 127.5 - 1))
    (train / "b" / "1.png").write_bytes(b"cut off")
    with pytest.raises(RcasError, match=r"^-data: .*1\.png cannot be read"):
        loop.train(write(tmp_path), data, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # the quick tests ask it of two methods in tests/methods/suite.py
@pytest.mark.parametrize(
    ("method", "remaining_data"), [("fine_tune", "real"), ("class_swap", "replay"), ("bn_propagation", "real")]
)
def test_a_run_that_goes_on_ends_as_if_it_had_not_stopped(
    method: str, remaining_data: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of G, D and G's moving average, both optimisers, and what is recorded, to the bit."""
    average = {**CONFIG["MODEL"], "apply_g_ema": True, "g_ema_decay": 0.5, "g_ema_start": 0}
    (data / "train" / "d").rename(tmp_path / "d")
    pretrained = loop.train(write(tmp_path, MODEL=average), data, tmp_path / "out", progress=False)
    (tmp_path / "d").rename(data / "train" / "d")
    section = {"method": method, "swap": {"b": "d"}, "snapshot_images": 0, "swap_metrics": 0, "retain": 1.0,
               "remaining_data": remaining_data}  # fmt: skip
    if method != "fine_tune":
        section["label_start"] = {"how": "match", "iterations": 2, "batch_size": 4}
    if method == "bn_propagation":
        section["stages"] = {"bn": 3}
    options = {"total_steps": 6, "batch_size": 4, "beta1": 0.0}
    config = write(tmp_path, MODEL=average, RCAS=section, OPTIMIZATION=options)
    whole = loop.train(config, data, tmp_path / "whole", pretrained, save_freq=2, progress=False)
    original = steps.Loop.step

    def stopped(self: steps.Loop, step: int) -> None:
        if step == 5:
            raise KeyboardInterrupt
        original(self, step)

    monkeypatch.setattr(steps.Loop, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        loop.train(config, data, tmp_path / "parts", pretrained, save_freq=2, progress=False)
    monkeypatch.setattr(steps.Loop, "step", original)
    (parts,) = (tmp_path / "parts" / "checkpoints").iterdir()
    assert Checkpoint.read(parts).step == 4
    torch.manual_seed(99)
    assert loop.train(config, data, tmp_path / "parts", parts, save_freq=2, progress=False) == parts
    first, second, start = Checkpoint.read(whole), Checkpoint.read(parts), Checkpoint.read(pretrained)
    assert first.step == second.step == 6
    for network in ("G", "D", "G_ema"):
        weights, again, before = (content.contents[network]["state_dict"] for content in (first, second, start))
        keys = [key for key, value in weights.items() if isinstance(value, torch.Tensor)]
        assert all(torch.equal(weights[key], again[key]) for key in keys)
        assert any(key not in before or not torch.equal(weights[key], before[key]) for key in keys)
    for network in ("G", "D"):
        states = [content.contents[network]["optimizer"]["state"] for content in (first, second)]
        assert states[0]
        for index, values in states[0].items():
            assert all(
                torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][index][key])) for key, value in values.items()
            )
    assert first.record.method == second.record.method
    assert second.record.source == str(pretrained.resolve())


def test_a_checkpoint_is_evaluated_without_a_trace(tmp_path: Path, data: Path) -> None:
    (data / "train" / "d").rename(tmp_path / "d")
    pretrained = loop.train(write(tmp_path), data, tmp_path / "out", progress=False)
    (tmp_path / "d").rename(data / "train" / "d")
    config = write(tmp_path, RCAS={"method": "fine_tune", "swap": {"b": "d"}, "snapshot_images": 0, "swap_metrics": 4})
    run = loop.train(config, data, tmp_path / "out", pretrained, progress=False)
    files = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    found = loop.evaluate(config, data, run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == files
    last = max(read_metrics(run)["steps"].items(), key=lambda item: int(item[0]))[1]
    assert found["new"].keys() == last["new"].keys()
    for figure, value in found["new"].items():
        assert value is last["new"][figure] is None or value == pytest.approx(last["new"][figure], rel=1e-4, abs=1e-4), figure
