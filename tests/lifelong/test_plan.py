"""A plan is checked before anything is done; each mistake is one sentence with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rcas_plugin.errors import RcasError
from rcas_plugin.lifelong.plan import Plan, read_plan
from rcas_plugin.lifelong.strategies import DEFAULT

PLAN: dict[str, Any] = {"data": "data", "tasks": [["a", "b"], ["c"]], "gan": {"cfg": "gan.yaml"}}


def read(folder: Path, **changes: Any) -> Plan:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}))
    return read_plan(path)


def test_paths_are_relative_to_the_plan(tmp_path: Path) -> None:
    plan = read(tmp_path)
    assert plan.data == str(tmp_path.resolve() / "data")
    assert plan.gan.cfg == str(tmp_path.resolve() / "gan.yaml")
    assert plan.strategies == [*DEFAULT]
    assert (plan.classes, plan.seen(0)) == (("a", "b", "c"), ("a", "b"))


def test_options_take_the_place_of_keys(tmp_path: Path) -> None:
    read(tmp_path, seeds=3)
    assert read_plan(tmp_path / "plan.yaml", {"seeds": 2, "data": "/elsewhere"}).seeds == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": []}, "task: this key is unknown; allowed: data, tasks,"),
        ({"classifier": {"widht": 3}}, "classifier.widht: this key is unknown; allowed: width, depth,"),
        ({"classifier": {"epochs": 0}}, "classifier.epochs: 0 is not allowed; allowed: a whole number over 0"),
        ({"tasks": [[0, 1], [2]]}, "tasks: 0 is not allowed; allowed: lists of class folders, in quotes"),
        ({"tasks": [["a", "b"]]}, "tasks: give two tasks or more"),
        ({"tasks": [["a"], []]}, "tasks: give two tasks or more"),
        ({"tasks": [["a"], ["../b"]]}, "tasks: '../b' is no name of a class folder"),
        ({"tasks": [["a"], ["a"]]}, "tasks: the class 'a' is named twice"),
        ({"strategies": ["rehearsal"]}, "strategies: 'rehearsal' is unknown; allowed: fine_tune, replay,"),
        ({"strategies": ["replay", "joint", "replay"]}, "strategies: 'replay' is named twice; name each strategy once"),
        ({"strategies": []}, "strategies: '' is unknown"),
        ({"gan": {}}, "gan.cfg: this key is missing"),
        ({"gan": {"cfg": "gan.yaml", "rcas": {"joint": {}}}}, "gan.rcas: 'joint' is no strategy with a GAN"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RcasError) as error:
        read(tmp_path, **changes)
    assert sentence in str(error.value)


def test_without_a_gan_none_is_asked_for(tmp_path: Path) -> None:
    assert not read(tmp_path, gan={}, strategies=["fine_tune", "joint"]).replays


def test_what_is_no_plan_is_said(tmp_path: Path) -> None:
    with pytest.raises(RcasError, match="cannot be read"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(RcasError, match="is no plan; it holds keys: data, tasks"):
        read_plan(tmp_path / "list.yaml")
