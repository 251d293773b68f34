"""`rcas sample`, from the command line to the files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from rcas_plugin.checkpoints.folder import checkpoint_files
from rcas_plugin.cli import main
from rcas_plugin.sampling import write
from rcas_plugin.sampling.batches import batch_size
from rcas_plugin.sampling.run import open_run

from .conftest import rewritten

Sample = Callable[..., Path]


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """(run, options) -> the folder that `rcas sample` wrote."""

    def make(run: Path, *options: object, out: str = "out", code: int = 0) -> Path:
        assert main(["sample", "-ckpt", str(run), "-o", str(tmp_path / out), *map(str, options)]) == code
        return tmp_path / out

    return make


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_new_class_of_a_run(run: Path, sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(run)
    out = sample(run, "--images", 3, "--processes", 1)
    assert sorted(files(out)) == ["contact_sheet.png", "d/0000.png", "d/0001.png", "d/0002.png", "manifest.json"]
    assert re.fullmatch(r"rcas: 3 images in [\d.]+ s, [\d.]+ images/s, 1 process", capsys.readouterr().out.splitlines()[-1])
    assert files(run) == before, "the run is only read"

    manifest = json.loads((out / "manifest.json").read_text())
    weights = checkpoint_files(run, best=True)["G"]
    assert manifest["checkpoint"] == {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(), "step": 2}
    assert (manifest["complete"], manifest["seed"], manifest["truncation"], manifest["channels"]) == (True, 0, None, 1)
    assert [(entry["file"], entry["label"], entry["class"]) for entry in manifest["files"]] == [
        (f"d/000{index}.png", 1, "d") for index in range(3)
    ]
    # each image from what the manifest says of it
    opened = open_run(run)
    for entry in manifest["files"]:
        z = opened.gan.latents(manifest["batch_size"], torch.Generator().manual_seed(entry["seed"]))
        with torch.no_grad():
            image = opened.gan.evaluated(z, torch.full((len(z),), entry["label"]))[entry["row"]]
        levels = ((image.double().mean(0) + 1) * 127.5).numpy()
        assert np.abs(levels - pixels(out / entry["file"])).max() <= 0.5 + 1e-3
        assert pixels(out / entry["file"]).shape == (32, 32)


def test_torchvision_reads_it(run: Path, sample: Sample) -> None:
    out = sample(run, "--labels", "all", "--images", 2, "--rgb", "--size", "original", "--processes", 1)
    data = ImageFolder(str(out))
    assert data.classes == ["a", "c", "d"]
    assert data.targets == [0, 0, 1, 1, 2, 2]
    assert data[0][0].size == (8, 8)
    assert pixels(out / "a" / "0000.png").shape == (8, 8, 3)


@pytest.mark.parametrize("labels", [("d", "0"), ("1", "a")])
def test_labels_by_name_or_number(labels: tuple[str, str], run: Path, sample: Sample) -> None:
    assert {path.name for path in sample(run, "--labels", *labels, "--images", 1).iterdir() if path.is_dir()} == {"a", "d"}


def test_images_depend_on_neither_processes_nor_their_number(run: Path, sample: Sample) -> None:
    one = files(sample(run, "--labels", "all", "--images", 70, "--processes", 1, out="one"))
    assert files(sample(run, "--labels", "all", "--images", 70, "--processes", 3, out="three")) == one
    few = files(sample(run, "--images", 5, "--processes", 1, out="few"))
    assert all(one[name] == content for name, content in few.items() if name.startswith("d/"))
    other = files(sample(run, "--images", 5, "--seed", 1, "--truncation", 0.5, out="other"))
    assert not {content for name, content in other.items() if name.startswith("d/")} & set(one.values())


@pytest.mark.parametrize("processes", [1, 2])
def test_a_sample_goes_on(processes: int, run: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after some batches leaves whole files, and the same command makes the rest, as if it had not been stopped."""
    options = ("--images", 200, "--processes", processes)
    whole = files(sample(run, *options, out="whole"))
    original = write.write_batch

    def interrupted(opened: Any, plan: Any, out: Path, batch: Any, names: list[str]) -> int:
        if batch.number == 2:
            raise KeyboardInterrupt
        return original(opened, plan, out, batch, names)

    with monkeypatch.context() as patch:
        patch.setattr(write, "write_batch", interrupted)
        out = sample(run, *options, code=130)
    there = files(out)
    assert not json.loads(there.pop("manifest.json"))["complete"]
    assert batch_size(32) <= len(there) < 200
    assert there.items() <= whole.items(), "what is there is whole"
    (out / "d" / ".rcas-part-abcd1234.png").write_bytes(b"of a killed process")
    os.utime(out / "d" / ".rcas-part-abcd1234.png", (0, 0))
    (out / "d" / "0003.png").unlink()
    again = sample(run, *options)
    assert files(again) == whole
    made = {name: path.stat().st_mtime_ns for name in whole if (path := again / name).suffix == ".png" and "/" in name}
    assert files(sample(run, *options)) == whole
    assert made == {name: (again / name).stat().st_mtime_ns for name in made}, "nothing is left to do"


def test_more_images_of_the_same(run: Path, sample: Sample) -> None:
    few = files(sample(run, "--images", 3))
    more = files(sample(run, "--images", 5))
    assert {name for name in more if name not in few} == {"d/0003.png", "d/0004.png"}
    assert files(sample(run, "--images", 5, out="at once")) == more


def test_a_folder_of_other_files_is_left_alone(run: Path, sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    out = sample(run, "--images", 2)
    (out / "mine.txt").write_text("mine")
    before = files(out)
    for options in (("--images", 1), ("--images", 2, "--seed", 1), ("--images", 2, "--labels", "a")):
        sample(run, *options, code=2)
        assert "holds other files; name another folder, or write into it with --force" in capsys.readouterr().err
        assert files(out) == before
    after = files(sample(run, "--images", 2, "--seed", 1, "--force"))
    assert after["mine.txt"] == b"mine"
    assert not {after["d/0000.png"], after["d/0001.png"]} & {before["d/0000.png"], before["d/0001.png"]}


@pytest.mark.parametrize(("options", "sentence"), [
    (("--labels", "zz"), "--labels: zz is no class of this run; allowed: 0 to 2, or a class of: a, d, c, b"),
    (("--labels", "3"), "--labels: 3 is no class of this run; allowed: 0 to 2, or a class of: a, d, c, b"),
    (("--labels", "d", "1"), "--labels: 'd' is named twice"),
    (("--images", "0"), "--images is 0; allowed: 1 or more"),
    (("--seed", "-1"), "--seed is -1; allowed: 0 or more"),
    (("--size", "big"), "--size is big; allowed: pixels, or original"),
    (("--processes", "0"), "--processes is 0"),
    (("--task", "7"), "--task: 7 is none of"),
    (("--task", "base", "--router"), "--router and --task exclude each other"),
])  # fmt: skip
def test_what_is_refused(
    options: tuple[str, ...], sentence: str, run: Path, sample: Sample, capsys: pytest.CaptureFixture[str]
) -> None:
    out = sample(run, *options, code=2)
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_record_is_no_path(run: Path, sample: Sample) -> None:
    """A class of a record that somebody else wrote leads to no other folder."""
    for number, name in enumerate(("../x", "/tmp/x", "..", ".hidden")):
        out = sample(rewritten(run, labels=["a", name, "c"]), "--images", 1, out=f"out{number}")
        (folder,) = (path for path in out.iterdir() if path.is_dir())
        assert re.fullmatch(r"(\w+-)?[0-9a-f]{8}", folder.name)
        assert not (out.parent / "x").exists()


def test_earlier_states_by_class_and_by_number(second: Path, sample: Sample) -> None:
    """The swaps were b -> d, then a -> e: b and a are in earlier states alone, d in the first swap's and in the last."""
    opened = open_run(second)

    def made(*options: str, out: str) -> dict[str, dict[str, Any]]:
        folder = sample(second, "--images", "1", "--rgb", *options, out=out)
        manifest = json.loads((folder / "manifest.json").read_text())
        for entry in manifest["classes"]:
            state = {None: None, "base": 0, "task-0001": 1}[entry["state"] and Path(entry["state"]["file"]).stem]
            first = next(file for file in manifest["files"] if file["class"] == entry["class"])
            z = opened.gan.latents(64, torch.Generator().manual_seed(first["seed"]))
            with torch.no_grad():
                image = opened.generator_of(state)(z, torch.full((64,), entry["label"]))[0]
            shown = pixels(folder / first["file"]).transpose(2, 0, 1)
            assert np.abs((image.numpy() + 1) * 127.5 - shown).max() <= 0.5 + 1e-3
            if entry["state"] is not None:
                file = second / entry["state"]["file"]
                assert entry["state"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        return {entry["class"]: (entry["label"], entry["state"] and Path(entry["state"]["file"]).stem)
                for entry in manifest["classes"]}  # fmt: skip

    assert made(out="new") == {"e": (0, None)}
    assert made("--labels", "d", "b", "a", out="former") == {"d": (1, None), "b": (1, "base"), "a": (0, "task-0001")}
    routed = made("--labels", "all", "--router", out="router")
    assert routed == {"e": (0, None), "d": (1, "task-0001"), "c": (2, "base")}
    assert made("--task", "1", out="task") == {"d": (1, "task-0001")}
    assert made("--task", "base", out="base") == {"a": (0, "base"), "b": (1, "base"), "c": (2, "base")}


def test_newest(run: Path, sample: Sample) -> None:
    for path in run.glob("model=G-current-*"):
        content = torch.load(path, weights_only=True)
        content["state_dict"]["conv2d5.bias"] += 0.5
        torch.save(content, path)
    best, newest = sample(run, "--images", 1, out="best"), sample(run, "--images", 1, "--newest", out="newest")
    assert pixels(newest / "d" / "0000.png").mean() > pixels(best / "d" / "0000.png").mean() + 5
