"""Checkpoint folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcas_plugin import RcasError
from rcas_plugin.studiogan.checkpoints import checkpoint_files, compare, other_size, read_checkpoint, read_record, write_record


def test_files_by_network(tmp_path: Path) -> None:
    for name in ("G-current-weights-step=3", "D-current-weights-step=3", "G_ema-current-weights-step=3", "G-best-weights-step=1"):
        (tmp_path / f"model={name}.pth").touch()
    assert {name: path.name for name, path in checkpoint_files(tmp_path).items()} == {
        name: f"model={name}-current-weights-step=3.pth" for name in ("G", "D", "G_ema")
    }
    with pytest.raises(RcasError, match=r"holds no model=D-best-weights-step=….pth"):
        checkpoint_files(tmp_path, best=True)


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


def test_records(tmp_path: Path) -> None:
    assert read_record(tmp_path) == {}
    write_record(tmp_path, {"labels": ["a"]})
    assert read_record(tmp_path) == {"labels": ["a"]}
    (tmp_path / "rcas.json").write_text("{")
    with pytest.raises(RcasError, match="cannot be read; delete it"):
        read_record(tmp_path)


def test_other_numbers_of_labels_are_told_from_other_networks() -> None:
    def state(labels: int, width: int) -> dict[str, torch.Tensor]:
        return {"conv": torch.zeros(width, 3, 1, 1), "gain": torch.zeros(width, labels), "head": torch.zeros(labels)}

    assert other_size(state(5, 4), state(3, 4), 3) == 5
    assert other_size(state(3, 4), state(3, 4), 3) == 3
    compare(state(5, 4), state(3, 4), Path("x.pth"), "resnet", (5, 3))
    with pytest.raises(RcasError, match=r"its gain is \(4, 5\), not \(4, 3\)"):
        compare(state(5, 4), state(3, 4), Path("x.pth"), "resnet")
    with pytest.raises(RcasError, match="its conv is"):
        compare(state(5, 8), state(3, 4), Path("x.pth"), "resnet", (5, 3))
