"""Checkpoint folders."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.folder import checkpoint_files, compare, labels_in, read_checkpoint
from rcas_plugin.cli import main


def test_files_by_network(tmp_path: Path) -> None:
    for name in ("G-current-weights-step=3", "D-current-weights-step=3", "G_ema-current-weights-step=3", "G-best-weights-step=1"):
        (tmp_path / f"model={name}.pth").touch()
    assert {name: path.name for name, path in checkpoint_files(tmp_path).items()} == {
        name: f"model={name}-current-weights-step=3.pth" for name in ("G", "D", "G_ema")
    }
    with pytest.raises(RcasError, match=r"holds no model=D-best-weights-step=….pth"):
        checkpoint_files(tmp_path, best=True)


def test_a_folder_of_best_weights_alone_is_a_checkpoint(tmp_path: Path) -> None:
    """L11: what is there is taken: the newest where there are newest weights, else the best."""
    for network in "GD":
        (tmp_path / f"model={network}-best-weights-step=7.pth").touch()
    assert {path.name for path in checkpoint_files(tmp_path).values()} == {f"model={n}-best-weights-step=7.pth" for n in "GD"}
    (tmp_path / "model=G-current-weights-step=9.pth").touch()
    with pytest.raises(RcasError, match=r"holds no model=D-current-weights-step=….pth"):
        checkpoint_files(tmp_path)


@pytest.mark.slow
def test_numpy_numbers_are_read_whoever_asks(tmp_path: Path) -> None:
    """F1: an ADA run's `aa_p` and a run's `best_fid` are numpy scalars, and are read in a process that never saw StudioGAN."""
    numbers = {"aa_p": np.float64(0.25), "best_fid": np.float32(12.5), "best_step": np.int64(4)}
    for network in "GD":
        states = {"state_dict": {"a": torch.ones(2)}, "step": 4, "run_name": "x", **numbers}
        torch.save(states, tmp_path / f"model={network}-current-weights-step=4.pth")
    script = (
        "import sys; from pathlib import Path; from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint; "
        "content = read_checkpoint(checkpoint_files(sys.argv[1])['D']); print(content['aa_p'], content['best_fid'])"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.stdout.split() == ["0.25", "12.5"], ended.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda path: torch.save({"state_dict": {}, "x": Fraction(1, 2)}, path), "objects of type fractions.Fraction"),
        (lambda path: torch.save({"state_dict": {}, "x": np.array([None])}, path), "objects of type numpy"),
        (lambda path: path.write_bytes(whole(path)[:900]), "it is cut short; put the whole|it is cut short; put a whole"),
        (lambda path: path.write_bytes(b"\x80\x04\x95 none"), "cut short, or no file of torch"),
        (lambda path: path.write_bytes(b""), "cut short, or no file of torch"),
        (lambda path: torch.save({"state_dict": 3}, path), "holds no state_dict"),
    ],
)
def test_a_file_that_is_not_read_is_said_to_be_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Callable[[Path], None], words: str
) -> None:
    """F1: one sentence, with no escape codes and no advice of torch's."""
    for network in "GD":
        content(tmp_path / f"model={network}-current-weights-step=1.pth")
    assert main(["fold", "-ckpt", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert re.search(words, said)
    assert said.count("\n") == 1
    assert not re.search(r"\x1b|weights_only|add_safe_globals|torch\.load", said)
    assert not (tmp_path / "out").exists()


def whole(path: Path) -> bytes:
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, path)
    return path.read_bytes()


def test_no_code_is_run(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "x": Path}, tmp_path / "x.pth")
    with pytest.raises(RcasError, match="cannot be read"):
        read_checkpoint(tmp_path / "x.pth")
    torch.save([1], tmp_path / "x.pth")
    with pytest.raises(RcasError, match="holds no state_dict"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "it has no a"),
        ({"a": torch.ones(2), "b": torch.ones(1)}, "its b is too much"),
        ({"a": torch.ones(3)}, r"its a is \(3,\), not \(2,\)"),
    ],
)
def test_another_network(state: dict[str, torch.Tensor], words: str) -> None:
    with pytest.raises(RcasError, match=words):
        compare(state, {"a": torch.ones(2)}, Path("model=G.pth"), "resnet")


def test_other_numbers_of_labels_are_told_from_other_networks() -> None:
    """F13: the number of labels is told from shapes that hold it times two, plus one, or behind InfoGAN's codes as well."""

    def state(labels: int, width: int) -> dict[str, torch.Tensor]:
        shapes = {"conv": (width, 3), "gain": (width, 6 + labels), "pairs": (2 * labels, width), "head": (labels + 1,)}
        return {name: torch.zeros(shape) for name, shape in shapes.items()}

    for key in ("gain", "pairs", "head"):
        alone = [{key: one[key]} for one in (state(5, 4), state(3, 4), state(4, 4))]
        assert labels_in(*alone, 3) == 5
    assert labels_in(state(3, 4), state(3, 4), state(4, 4), 3) == 3
    assert labels_in({"gain": torch.zeros(4, 2)}, state(3, 4), state(4, 4), 3) == 3, "less than the codes alone: another network"
    with pytest.raises(RcasError, match=r"its gain is \(4, 11\), not \(4, 9\)"):
        compare(state(5, 4), state(3, 4), Path("x.pth"), "resnet")
    with pytest.raises(RcasError, match="its conv is"):
        compare(state(5, 8), state(5, 4), Path("x.pth"), "resnet")
