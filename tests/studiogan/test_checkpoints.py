"""Checkpoint folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcas_plugin import RcasError
from rcas_plugin.studiogan.checkpoints import checkpoint_files, compare, labels_in, read_checkpoint, read_record, write_record


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
