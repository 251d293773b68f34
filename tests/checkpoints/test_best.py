"""The best checkpoint, made of the newest; and a process that is killed between two files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin.checkpoints import best as module
from rcas_plugin.checkpoints.best import keep_best, kept_step
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint, settle, step_of, write_checkpoint

NETWORKS = ("G", "D", "G_ema")


def states(network: str, step: int) -> dict[str, Any]:
    more = {"step": step, "run_name": "x", "best_step": 0} if network == "D" else {}
    return {"state_dict": {"a": torch.full((2,), float(step))}, "optimizer": {"state": {}}, **more}


def save(folder: Path, step: int, when: str = "current", networks: tuple[str, ...] = NETWORKS) -> None:
    for network in networks:
        write_checkpoint(folder, network, when, step, states(network, step))


def steps(folder: Path, when: str) -> dict[str, int]:
    return {network: step_of(path) for network, path in checkpoint_files(folder, best=when == "best").items()}


def test_the_newest_is_kept_as_the_best(tmp_path: Path) -> None:
    save(tmp_path, 0)
    assert kept_step(tmp_path) is None
    assert keep_best(tmp_path, 0)
    save(tmp_path, 50)
    assert kept_step(tmp_path) == 0
    assert not keep_best(tmp_path, 40), "the newest checkpoint is of another step"
    assert keep_best(tmp_path, 50, {"a": torch.full((2,), 7.0)})
    contents = {network: read_checkpoint(path) for network, path in checkpoint_files(tmp_path, best=True).items()}
    assert [float(content["state_dict"]["a"][0]) for content in contents.values()] == [7, 50, 50], "G is the one that was given"
    assert contents["D"]["best_step"] == contents["D"]["step"] == 50
    assert contents["G"]["optimizer"] == {"state": {}}
    assert len(list(tmp_path.iterdir())) == 6, "of each network the newest and the best"


@pytest.mark.parametrize("files", [1, 2, 3])
@pytest.mark.parametrize("when", ["current", "best"])
def test_a_process_that_is_killed_between_two_files_leaves_a_whole_checkpoint(files: int, when: str, tmp_path: Path) -> None:
    for kind in ("current", "best"):
        save(tmp_path, 75, kind)
    save(tmp_path, 100, when, NETWORKS[:files])
    step = 100 if files == 3 else 75
    assert set(steps(tmp_path, when).values()) == {step}
    settle(tmp_path)
    assert set(steps(tmp_path, when).values()) == {step}
    assert len(list(tmp_path.iterdir())) == 6, "StudioGAN takes whatever is there: nothing else is left"


def test_the_first_save_of_all_may_be_cut_off(tmp_path: Path) -> None:
    save(tmp_path, 50, networks=("G",))
    settle(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model=G-current-weights-step=50.pth"]


@pytest.mark.parametrize("files", [1, 2])
def test_the_first_best_state_may_be_cut_off(files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After G and its average, or G alone, there is none: never one of G and D without the average."""
    written: list[str] = []

    def killed(folder: Path, network: str, *more: Any) -> None:
        if len(written) == files:
            raise KeyboardInterrupt
        written.append(network)
        write_checkpoint(folder, network, *more)

    save(tmp_path, 50)
    monkeypatch.setattr(module, "write_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        keep_best(tmp_path, 50)
    assert len(list(tmp_path.glob("model=*-best-*"))) == files
    assert kept_step(tmp_path) is None


def test_a_network_that_is_not_saved_any_more_does_not_keep_every_file(tmp_path: Path) -> None:
    save(tmp_path, 10)
    for step in (20, 30, 40):
        save(tmp_path, step, networks=("G", "D"))
    assert len(list(tmp_path.iterdir())) <= 5
    assert {steps(tmp_path, "current")[network] for network in "GD"} == {40}
