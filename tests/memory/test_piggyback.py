"""`rcas memory` on a lineage of `piggyback`, whose bank grows: tasks that build on those before them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import read_lineage
from rcas_plugin.checkpoints.tasks import same_bits
from rcas_plugin.embedded import loop
from rcas_plugin.memory.tasks import list_tasks
from rcas_plugin.record import read_record

from ..sampling.conftest import CONFIG, Swaps
from .test_memory import images, rcas, swap


@pytest.fixture(scope="module")
def swaps(tmp_path_factory: pytest.TempPathFactory) -> Swaps:
    return Swaps(tmp_path_factory.mktemp("piggyback"), "piggyback")


def test_a_task_is_small_and_what_earlier_ones_hold_is_not_in_it(swaps: Swaps, tmp_path: Path) -> None:
    """Of 4 filters 1 is a task's own; the third task mixes 6 in a bank of 3x3 filters."""
    run = swap(swaps, swaps.second, tmp_path, method="piggyback", swap={"c": "b"})
    assert [read_record(folder).method["bank"]["filters"] for folder in (swaps.first, swaps.second, run)] == [39, 45, 51]
    listed = list_tasks(run)
    assert [(task.method, task.classes) for task in listed.tasks] == [
        ("piggyback", {1: "d"}),
        ("piggyback", {0: "e"}),
        ("piggyback", {2: "b"}),
    ]
    first, second = read_lineage(run).tasks
    mixed, full = "blocks.0.0.conv2d1.weight", "conv2d5.weight"
    assert {name: tuple(second.tensors[f"{mixed}/{name}"].shape) for name in ("new", "mix")} == {
        "new": (1, 4, 3, 3),
        "mix": (5, 3),
    }
    assert tuple(first.tensors[f"{mixed}/mix"].shape) == (4, 3)
    assert f"{full}/mix" not in first.tensors
    assert not any(name.endswith("/earlier") for task in (first, second) for name in task.tensors)
    before, after = images(swaps.second), images(run)
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, True, False]


def test_one_task_and_the_runs_own_as_checkpoints(swaps: Swaps, tmp_path: Path) -> None:
    assert rcas("export", "-ckpt", swaps.second, "--task", 1, "-o", tmp_path / "first") == 0
    assert rcas("fold", "-ckpt", swaps.second, "-o", tmp_path / "own") == 0
    expected = read_lineage(swaps.second).states[1]
    gan = loop.load_gan(CONFIG, tmp_path / "first")
    assert all(same_bits(tensor, expected[name]) for name, tensor in gan.evaluated.state_dict().items())
    whole = images(swaps.second)
    assert torch.equal(images(tmp_path / "first")[1], whole[1])
    assert torch.equal(images(tmp_path / "own")[0], whole[0])
    assert not Checkpoint.read(tmp_path / "own").adapted
