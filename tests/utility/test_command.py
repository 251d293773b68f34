"""`rcas utility` end to end: digits, the embedded networks, a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from rcas_plugin import cli
from rcas_plugin.embedded import loop
from rcas_plugin.report.utility import UTILITY, read_utility
from rcas_plugin.utility import experiment
from rcas_plugin.watch.observer import read_metrics

from ..shared import short_endings

CONFIG = {
    "DATA": {"name": "digits", "img_size": 32, "num_classes": 3},
    "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
    "OPTIMIZATION": {"batch_size": 4, "beta1": 0.0, "total_steps": 2},
}
TINY = ["--steps", "2", "--seeds", "1", "--amounts", "1", "--generated", "6", "--sizes", "4", "8", "--no-flip"]


@pytest.fixture(autouse=True)
def without_studiogan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "none"))


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(run, data): digits 1, 2, 3 of which 3 became 0; eight training and five test images of each."""
    root = tmp_path_factory.mktemp("digits")
    digits = load_digits()
    for part, first, last in (("train", 0, 8), ("valid", 8, 13)):
        for name in range(4):
            folder = root / "data" / part / str(name)
            folder.mkdir(parents=True)
            for index in np.flatnonzero(digits.target == name)[first:last]:
                Image.fromarray((digits.images[index] * 255 / 16).astype(np.uint8)).save(folder / f"{index:04d}.png")
    config = root / "config.yaml"
    (root / "data" / "train" / "0").rename(root / "0")
    config.write_text(yaml.safe_dump(CONFIG))
    pretrained = loop.train(config, root / "data", root / "out", progress=False)
    (root / "0").rename(root / "data" / "train" / "0")
    section = {"method": "fine_tune", "swap": {"3": "0"}, "snapshot_images": 2, "swap_metrics": 5}
    config.write_text(yaml.safe_dump({**CONFIG, "RCAS": section}))
    with short_endings():
        return loop.train(config, root / "data", root / "swap", pretrained, progress=False), root / "data"


def test_from_a_run_to_its_report(
    swapped: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = swapped
    command = ["utility", str(run), "--data", str(data), *TINY]
    checkpoints = {path: path.read_bytes() for path in run.glob("*.pth")}
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "With 8 real images of 0, generated images beside classical augmentation change its sensitivity by" in said
    assert "The generator saw all 8 real images of 0: rows of 4 real images flatter" in said
    found = read_utility(run)
    assert found is not None
    assert (found.new, found.classes, found.saw, found.test) == ("0", ["1", "2", "0"], 8, (5, 15))
    assert found.state == f"best state, step {read_metrics(run)['best']['step']}"
    assert [(row.real, row.condition) for row in found.rows][-2:] == [(8, "real + augmentation + generated"),
                                                                      (0, "generated alone")]  # fmt: skip
    assert found.copies is not None
    assert "Does it help?" in (run / "report" / "report.html").read_text()
    assert {path: path.read_bytes() for path in run.glob("*.pth")} == checkpoints
    # nothing is left to train or to generate the second time
    monkeypatch.setattr(experiment, "train_detector", None)
    before = (run / UTILITY).read_bytes()
    assert cli.main(command) == 0
    assert (run / UTILITY).read_bytes() == before
    capsys.readouterr()


def test_ctrl_c_is_no_error(
    swapped: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "train_detector", stops)
    run, data = swapped
    assert cli.main(["utility", str(run), "--data", str(data), *TINY, "--steps", "3"]) == 130
    assert "0 trainings are kept; the same command goes on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--sizes", "9"], "--sizes: 9 is more than the 8 training images of 0; allowed: 2 to 8"),
        (["--sizes", "1"], "--sizes: 1 is too few; allowed: 2 or more"),
        (["--amounts", "0"], "--amounts: 0 is no amount of images"),
        (["--seeds", "0"], "--seeds: 0 is too few"),
        (["--new", "7"], "--new: '7' is no class of the run; allowed: 1, 2, 0"),
        (["--test", "nowhere"], "--test: there is no folder nowhere"),
        (["--group", "("], "--group: '(' is no regular expression"),
    ],
)
def test_refusals(swapped: tuple[Path, Path], options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = swapped
    files = set(run.rglob("*"))
    assert cli.main(["utility", str(run), "--data", str(data), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert set(run.rglob("*")) == files


def test_an_unfinished_file_is_none(swapped: tuple[Path, Path]) -> None:
    run, _ = swapped
    assert not list(run.rglob(".rcas-part-*"))
    assert not (run / UTILITY).exists() or json.loads((run / UTILITY).read_text())["new"] == "0"
