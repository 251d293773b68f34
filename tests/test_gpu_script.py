"""scripts/gpu, rehearsed on a CPU: every part begins and ends, what is missing is said, and a failing part stops no other."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

from rcas_plugin import RcasError
from rcas_plugin.studiogan.locate import find_studiogan

ROOT = Path(__file__).parents[1]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Name of a module of scripts/gpu_check -> the module."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    yield lambda name: importlib.import_module(f"gpu_check.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("gpu_check", "stand_in")]:
        del sys.modules[name]


def call(*options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / "gpu"), *map(str, options)]
    variables = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def test_what_has_to_be_there_is_what_the_project_declares(module: Callable[[str], ModuleType]) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]
    declared = {Requirement(line).name for line in re.findall(r'^    "([^"]+)"', section, re.MULTILINE)}
    requirements = module("requirements")
    assert len(declared) > 20
    assert requirements.MODULES.keys() == declared | {"pytest", "hypothesis"}
    assert requirements.missing() == []
    group, point = requirements.ENTRY_POINTS.split("\n")[:2]
    name, _, target = point.partition(" = ")
    assert f'[project.entry-points."{group.strip("[]")}"]\n{name} = "{target}"' in text


def test_what_is_missing_is_said_with_the_command_that_brings_it(
    module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requirements = module("requirements")
    monkeypatch.setattr(requirements, "MODULES", {"torch": "torch", "nothing": "no_such_module"})
    assert requirements.missing() == ["nothing"]
    said = requirements.sentence(["nothing", "other"], tmp_path / "wheels")
    assert said.startswith("not here: nothing, other; ")
    assert f"scripts/gpu --pack wheels --python 3.{sys.version_info.minor} --missing nothing,other" in said


def test_a_clone_that_is_not_installed_finds_its_plugin(module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """On a bare machine nothing of this project is installed, and main.py looks for an entry point."""
    module("requirements")._declare(tmp_path)
    code = "from importlib.metadata import entry_points; print([p.load() for p in entry_points(group='studiogan.plugins')])"
    shown = subprocess.run([sys.executable, "-S", "-c", code.replace("p.load()", "p.value")], capture_output=True, text=True,
                           check=True, env={"PYTHONPATH": str(tmp_path)})  # fmt: skip
    assert shown.stdout.strip() == "['rcas_plugin.studiogan.activation:activate']"


def test_what_is_packed_is_what_is_missing_and_what_that_needs(module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    pack = module("pack")
    there, lacking = pack.needed({"torch", "numpy"}, "3.12"), pack.needed({"pydantic"}, "3.12")
    assert {"torch", "numpy", "sympy"} <= there
    assert {"pydantic", "pydantic-core", "annotated-types"} <= lacking
    assert "torch" not in lacking
    assert "annotated-types" in lacking - there
    with pytest.raises(RcasError, match="--missing: left-pad is none of the requirements"):
        pack.pack(tmp_path / "wheels", ["left-pad"], "3.12")
    assert not (tmp_path / "wheels").exists()


def write_parts(folder: Path, **parts: str) -> None:
    for name, code in parts.items():
        (folder / f"{name}.py").write_text(f"import time\ndef run(setup, report):\n    {code}\n")


def test_a_part_that_fails_or_takes_too_long_keeps_what_it_has_and_the_next_goes_on(
    module: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule, setup = module("schedule"), module("setup")
    write_parts(
        tmp_path,
        good="report.put('figure', 1)",
        wrong="report.check(False, 'not as it should be')",
        broken="report.put('figure', 2); raise RuntimeError('no such kernel')",
        slow="time.sleep(3600)",
    )
    package = sys.modules["gpu_check"]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    parts = [schedule.Part(name, "", 2 if name == "slow" else 600) for name in ("broken", "slow", "wrong", "good")]
    monkeypatch.setattr(schedule, "LEAST", 0.1)
    kept: list[list[str]] = []
    rows = schedule.run_parts(
        setup.Setup("cpu", True, tmp_path, 1), parts, 3000, lambda rows: kept.append([row["outcome"] for row in rows.values()])
    )
    assert kept[-1] == ["failed", "failed", "failed", "passed"]
    assert [len(outcomes) for outcomes in kept] == [1, 2, 3, 4], "the results are written after each part"
    assert rows["broken"]["figures"] == {"figure": 2}
    assert rows["broken"]["wrong"] == ["exit code 1"]
    assert rows["broken"]["last_lines"][-1] == "RuntimeError: no such kernel"
    assert rows["slow"]["wrong"] == ["its time, 2 s, was over"]
    assert rows["wrong"]["wrong"] == ["not as it should be"]
    assert rows["good"]["figures"] == {"figure": 1}
    late = schedule.run_parts(setup.Setup("cpu", True, tmp_path, 1), parts[:1], 0.05, lambda rows: None)
    assert late["broken"]["outcome"] == "not run"


def rehearse(folder: Path, *parts: str) -> dict[str, Any]:
    ended = call("--device", "cpu", "--reduced", "--out", folder, "--commit", "abc", "--parts", *parts)
    content: dict[str, Any] = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
    assert ended.returncode == 0, ended.stdout + ended.stderr + json.dumps(content["parts"], indent=1)[-6000:]
    assert (content["commit"], content["device"], content["reduced"]) == ("abc", "cpu", True)
    assert list(content["parts"]) == list(parts)
    assert {row["outcome"] for row in content["parts"].values()} == {"passed"}
    return {name: row["figures"] for name, row in content["parts"].items()}


@pytest.mark.slow
def test_rehearsal_of_the_parts_without_studiogan(tmp_path: Path) -> None:
    found = rehearse(tmp_path, "environment", "device_tests", "importance")
    assert found["environment"]["matmul_relative_to_the_cpu"] < 1e-6
    assert found["device_tests"]["counts"] == {"passed": 1}
    assert found["importance"]["beside the CPU"]["selection_overlap"] == 1
    assert found["importance"]["as torch computes"]["per_sample"]["relative_to_the_loop_in_float64"] < 1e-10


@pytest.fixture
def _in_the_background() -> Iterator[None]:
    """A command that a shell starts in the background has SIGINT ignored, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("_in_the_background")
def test_rehearsal_of_the_runs_of_main_py(tmp_path: Path) -> None:
    try:
        find_studiogan()
    except RcasError as missing:
        pytest.skip(f"no StudioGAN here: {missing}")
    found = rehearse(tmp_path, "swaps", "steps")
    swaps = found["swaps"]
    assert swaps["pre-train"]["labels"] == ["a", "b", "c", "d"]
    assert swaps["bn_propagation"]["labels"] == ["a", "new", "c", "d"]
    assert swaps["bn_propagation"]["step_seconds"] > 0
    stopped, step = swaps["interrupted"]["stopped_after"], swaps["interrupted"]["step"]
    assert 2 <= stopped < step <= stopped + 2
    assert step % 2 == 0, "a checkpoint is saved at every second step"
    assert found["steps"]["config"] == {"name": "CIFAR10/BigGAN", "batch_size": 8, "reduced": True}
    assert found["steps"]["class_swap, accelerate"]["steps"] >= 2


def test_a_gpu_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    ended = call("--device", "cuda", "--out", tmp_path, CUDA_VISIBLE_DEVICES="")
    assert ended.returncode == 2
    assert "--device cuda: torch finds no GPU" in ended.stderr
    assert not list(tmp_path.iterdir())
