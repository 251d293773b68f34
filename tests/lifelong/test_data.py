"""The folders of links that tasks are read from."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from rcas_plugin.errors import RcasError
from rcas_plugin.lifelong.data import read_data
from rcas_plugin.lifelong.plan import Plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    for part in ("train", "valid"):
        for name in "abc":
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for index in range(2):
                Image.new("RGB", (16, 16), (index, 9, 200)).save(tmp_path / "data" / part / name / f"{index}.png")
    return Plan(data=str(tmp_path / "data"), tasks=[["a", "b"], ["c"]], size=16)


def test_links_of_other_tasks_are_gone(plan: Plan, tmp_path: Path) -> None:
    read_data(plan, tmp_path / "out" / "tasks")
    changed = plan.model_copy(update={"tasks": [["a"], ["b", "c"]]})
    folders, images = read_data(changed, tmp_path / "out" / "tasks")
    assert [path.name for path in (folders[0] / "train").iterdir()] == ["a"]
    assert [len(labels) for _, labels in images.train] == [2, 4]


def test_a_refusal_leaves_what_was_there(plan: Plan, tmp_path: Path) -> None:
    state = tmp_path / "out" / "tasks" / "base.safetensors"
    state.parent.mkdir(parents=True)
    state.touch()
    (tmp_path / "data" / "valid" / "c" / "0.png").write_bytes(b"broken")
    with pytest.raises(RcasError, match=r"0\.png"):
        read_data(plan, state.parent)
    assert [*(tmp_path / "out").rglob("*")] == [state.parent, state]
    assert (tmp_path / "data" / "train" / "a" / "0.png").is_file()
