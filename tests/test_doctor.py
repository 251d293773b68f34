"""rcas doctor --data: a data set, a checkpoint and a config, looked through as a swap would."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from rcas_plugin.cli import main
from rcas_plugin.files import write_json

CONFIG = {"DATA": {"name": "toy", "img_size": 32, "num_classes": 3}, "OPTIMIZATION": {"total_steps": 100}}


def images(root: Path, names: list[str], count: int = 3, size: tuple[int, int] = (32, 32), kind: Any = np.uint8) -> Path:
    source = np.random.default_rng(0)
    for name in names:
        folder = root / "train" / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(source.integers(0, 256, size[::-1]).astype(kind)).save(folder / f"{number}.png")
    return root


def checkpoint(folder: Path, labels: list[str] | None, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    for network in "GD":
        torch.save({"state_dict": {}, "step": 70}, folder / f"model={network}-current-weights-step=70.pth")
    if labels is not None:
        write_json(folder / "rcas.json", {"labels": labels, "config": config or CONFIG})
    return folder


@pytest.fixture
def asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def ask(*options: object) -> tuple[int, str]:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        code = main(["doctor", *map(str, options)])
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before, "it only reads"
        out, err = capsys.readouterr()
        return code, out + err

    return ask


def test_a_data_set_alone(tmp_path: Path, asked: Any) -> None:
    """Item 2: sizes, depths, classes and counts, hidden folders, few images, valid/ there or not."""
    data = images(images(tmp_path, ["a"], 25), ["b"], size=(64, 48), kind=np.uint16)
    (data / "train" / ".ipynb_checkpoints").mkdir()
    code, said = asked("--data", data)
    assert code == 0
    assert "classes       2: a (25), b (3)" in said
    assert "images        28, 32x32 to 64x48, gray, gray 16 bit" in said
    assert "hidden, and left out: .ipynb_checkpoints" in said
    assert "classes of few images: b (3)" in said
    assert "the 16-bit images of class b hold values up to 25" in said
    assert f"there is no folder {data / 'valid'}" in said
    assert "Nothing to do for the data" in said


def test_what_would_be_refused_ends_with_2(tmp_path: Path, asked: Any) -> None:
    """Item 2: broken files by name, constant classes; exit code 2."""
    data = images(tmp_path, ["a", "b", "c"])
    for number in range(2):
        path = data / "train" / "a" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:100])
    for path in (data / "train" / "c").iterdir():
        Image.new("L", (32, 32), 5).save(path)
    code, said = asked("--data", data)
    assert code == 2
    for number in range(2):
        assert f"{data / 'train' / 'a' / f'{number}.png'} cannot be read" in said
    assert "Refused: -data: every image of the class 'c' is one colour all over" in said
    assert "one colour all over: c/0.png, c/1.png, c/2.png" in said
    assert asked("--data", tmp_path / "nowhere")[0] == 2


def test_a_checkpoint_with_a_record(tmp_path: Path, asked: Any) -> None:
    """Item 2: which label is which, folders without a label, labels without a folder, options, and a ready command."""
    data = images(tmp_path / "data", ["bent lead", "dent", "stain"], size=(50, 40))
    ckpt = checkpoint(tmp_path / "ckpt", ["bent lead", "scratch", "stain"])
    code, said = asked("--data", data, "--ckpt", ckpt)
    assert code == 0, said
    assert "model=G-current-weights-step=70.pth: whole, step 70" in said
    assert "labels        as recorded beside the checkpoint" in said
    assert "label 0: bent lead (3 images)" in said
    assert "label 1: scratch, no folder of that name" in said
    assert "folders without a label, so new: dent" in said
    assert "option        --pre_resizer lanczos" in said
    assert "config        recorded beside the checkpoint: name toy, img_size 32, num_classes 3" in said
    (line,) = [line for line in said.splitlines() if line.startswith("To do: ")]
    assert shlex.split(line)[2:] == [
        "rcas",
        "swap",
        "--ckpt",
        str(ckpt),
        "--data",
        str(data),
        "--slot",
        "scratch",
        "--new",
        "dent",
    ]
    (data / "train" / "dent").rename(data / "train" / "Scratch")
    assert "label 1: scratch, no folder of that name; is it Scratch?" in asked("--data", data, "--ckpt", ckpt)[1]


def test_a_checkpoint_without_a_record(tmp_path: Path, asked: Any) -> None:
    """Item 2: a guess is said to be one; what cannot be guessed is asked for; so is the config."""
    data, ckpt = images(tmp_path / "data", ["a", "b", "c"]), checkpoint(tmp_path / "ckpt", None)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    code, said = asked("--data", data, "--ckpt", ckpt, "--cfg", tmp_path / "c.yaml")
    assert code == 0
    assert "labels        guessed: as many folders as labels, in order" in said
    assert "OLD is the class that is given up: a or b or c" in said
    assert f"--cfg {tmp_path / 'c.yaml'}" in said
    assert "option" not in said
    images(data, ["d"])
    code, said = asked("--data", data, "--ckpt", ckpt)
    assert "labels        not known: list the class folder of each label at pre-training in RCAS.labels" in said
    assert "give the file that trained it with --cfg" in said


def test_a_config_of_another_number_of_classes(tmp_path: Path, asked: Any) -> None:
    """Item 2: for a pre-training, a class folder too many ends with 2, and a label without one is said."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    code, said = asked("--data", images(tmp_path / "data", ["a", "b"]), "--cfg", tmp_path / "c.yaml")
    assert code == 0
    assert "1 of its 3 labels have no class folder; set DATA.num_classes to 2" in said
    code, said = asked("--data", images(tmp_path / "data", ["c", "d"]), "--cfg", tmp_path / "c.yaml")
    assert code == 2
    assert "Refused: DATA.num_classes: 3, and " in said


def test_a_checkpoint_that_cannot_be_used(tmp_path: Path, asked: Any) -> None:
    """Item 2: damaged or missing files of a checkpoint, and a config of another number of labels, end with 2."""
    data, ckpt = images(tmp_path / "data", ["a", "b", "c"]), checkpoint(tmp_path / "ckpt", ["a", "b", "c"])
    wrong = {**CONFIG, "DATA": {**CONFIG["DATA"], "num_classes": 4}}  # type: ignore[dict-item]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(wrong))
    code, said = asked("--data", data, "--ckpt", ckpt, "--cfg", tmp_path / "c.yaml")
    assert (code, "Refused: DATA.num_classes: 4, and the checkpoint records 3 labels" in said) == (2, True)
    path = ckpt / "model=G-current-weights-step=70.pth"
    path.write_bytes(path.read_bytes()[:50])
    code, said = asked("--data", data, "--ckpt", ckpt)
    assert code == 2
    assert "Refused: -ckpt: " in said
    assert path.name in said
    assert asked("--ckpt", ckpt)[0] == 2
    assert asked("--data", data, "--cfg", tmp_path / "none.yaml")[0] == 2
