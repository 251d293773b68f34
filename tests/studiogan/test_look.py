"""The look at a run's data, where no StudioGAN is needed for it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from rcas_plugin import RcasError
from rcas_plugin.cli import main
from rcas_plugin.data.check import Preparation
from rcas_plugin.files import write_json
from rcas_plugin.studiogan.active import ActiveRun
from rcas_plugin.studiogan.backbones import fingerprint
from rcas_plugin.studiogan.look import _check_valid
from rcas_plugin.studiogan.wiring.data import _cached_apart

DATA = {"name": "toy", "img_size": 32, "num_classes": 2}


def rewrite(path: Path) -> None:
    """Write a file over in place, and put its time back."""
    before = path.stat()
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("option", ["train", "valid"])
def test_cached_statistics_are_of_the_files_that_are_there(tmp_path: Path, option: str) -> None:
    """L5: upstream's moments and features of replaced images are not served again; those of the same images are."""
    files = images(tmp_path / option / "a")
    options = SimpleNamespace(eval_backbone="InceptionV3_tf", data_dir=str(tmp_path), ref_dataset=option)
    cfgs = SimpleNamespace(RUN=options, DATA=SimpleNamespace(name="toy"))
    name = _cached_apart(lambda *, cfgs: cfgs.DATA.name)
    first = name(cfgs=cfgs)
    assert first.startswith("toy-")
    assert cfgs.DATA.name == "toy"
    assert name(cfgs=cfgs) == first
    rewrite(files / "1.png")
    assert name(cfgs=cfgs) != first
    cfgs.DATA.name = "CIFAR10"
    assert name(cfgs=cfgs) == "CIFAR10", "torchvision checks its files itself"


@pytest.mark.parametrize("stored", [False, True])
def test_the_judge_is_of_the_files_that_are_there(tmp_path: Path, stored: bool) -> None:
    """L5: a class folder replaced by another gives another judge, from HDF5 too."""
    files = images(tmp_path / "train" / "a")
    path = None
    if stored:
        path = tmp_path / "x.hdf5"
        with h5py.File(path, "w") as file:
            file["imgs"], file["labels"] = np.zeros((3, 32, 32, 3), np.uint8), np.zeros(3, np.int64)
    listed = SimpleNamespace(targets=[0, 0, 0], classes=["a"])
    base = SimpleNamespace(hdf5_path=path, data_dir=str(tmp_path), data_name="toy", train=True, data=listed)
    cfgs = SimpleNamespace(DATA=SimpleNamespace(**DATA), RUN=SimpleNamespace(pre_resizer="lanczos"))
    run = ActiveRun(cfgs=cfgs, base=base)
    first = fingerprint(run)
    assert fingerprint(run) == first
    rewrite(files / "1.png")
    assert fingerprint(run) != first


def images(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 65536, (50, 40)).astype(np.uint16)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("broken", [False, True])
def test_what_is_tested_on_is_looked_at_like_what_is_trained_on(tmp_path: Path, broken: bool) -> None:
    files = images(tmp_path / "valid" / "a")
    Image.new("L", (20, 40)).save(files / "3.png")
    if broken:
        (files / "2.png").write_bytes(b"cut off")
    with pytest.raises(RcasError, match=r"2\.png cannot be read" if broken else "--pre_resizer is missing"):
        _check_valid(tmp_path / "valid", "valid", Preparation(32), None)


@pytest.mark.parametrize("where", ["data", "new"])
def test_rcas_swap_refuses_before_it_writes(
    tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """L10: `rcas swap` looks at the images before its config is written, and names the file."""
    for name in ("a", "b", "c"):
        images(tmp_path / "data" / "train" / name)
    fresh = images(tmp_path / "new" / "c")
    ckpt = tmp_path / "ckpt"
    ckpt.mkdir()
    for network in "GD":
        content: dict[str, Any] = {"state_dict": {}, "step": 1, "run_name": "toy"}
        torch.save(content, ckpt / f"model={network}-current-weights-step=1.pth")
    write_json(ckpt / "rcas.json", {"labels": ["a", "b"], "config": {"DATA": DATA, "OPTIMIZATION": {"total_steps": 500}}})
    broken = (fresh if where == "new" else tmp_path / "data" / "train" / "a") / "1.png"
    broken.write_bytes(broken.read_bytes()[:300])
    (tmp_path / "studio" / "src").mkdir(parents=True)
    (tmp_path / "studio" / "src" / "main.py").touch()
    monkeypatch.setattr("rcas_plugin.studiogan.swap_cli.find_studiogan", lambda path: tmp_path / "studio")
    options = ["swap", "--ckpt", ckpt, "--data", tmp_path / "data", "--slot", "b", "--new", "c", "-o", tmp_path / "out"]
    if where == "new":
        options += ["--new-data", tmp_path / "new"]
    assert main([str(option) for option in options]) == 2
    assert f"rcas: error: -data: {broken} cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
