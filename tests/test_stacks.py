"""What scripts/stacks says, and that what it proves is what is claimed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rcas_plugin import RcasError

ROOT = Path(__file__).parents[1]

ROW: dict[str, Any] = {
    "name": "x", "python": "3.11", "before": {"torch": "2.4.1"}, "kept": {"torch": True, "numpy": False}, "swap": "main.py",
    "versions": {"torch": "2.4.1", "numpy": "2.1.3", "scikit-learn": "1.6.1", "pandas": "2.3.3", "pydantic": "2.14.4"},
    "tests": {"passed": 400, "failed": 0, "skipped": 3}, "seconds": 500,
}  # fmt: skip


@pytest.fixture
def stacks(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("stacks")


def test_the_lowest_stack_has_the_lower_bounds(stacks: ModuleType) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]
    claimed = dict(re.findall(r'^    "([\w-]+)>=([\d.]+)', section, re.MULTILINE))
    lowest = dict(re.findall(r"^([\w-]+)==([\d.]+)$", stacks.LOWEST.read_text(), re.MULTILINE))
    assert len(claimed) > 20
    assert claimed.keys() == lowest.keys()
    for name, version in lowest.items():
        assert (version + ".0").startswith(claimed[name]), name
        assert not version.removeprefix(claimed[name]).strip(".0"), f"{name} {claimed[name]} is claimed and {version} is proved"


def test_a_row(stacks: ModuleType) -> None:
    assert not stacks.failed(ROW)
    assert stacks.table([ROW]).splitlines()[-1] == (
        "| 3.11 | 2.4.1 | 2.1.3 | 1.6.1, 2.3.3, 2.14.4 | yes | 400, 0, 3 | main.py | 500 |"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"tests": {"passed": 400, "failed": 1, "skipped": 0}},
        {"swap": "failed: ValueError: x"},
        {"kept": {"torch": False}},
        {"error": "there is no Python 3.11 here"},
    ],
)
def test_what_is_wrong_shows(stacks: ModuleType, wrong: dict[str, Any]) -> None:
    assert stacks.failed({**ROW, **wrong})
    assert stacks.table([{**ROW, **wrong}]) != stacks.table([ROW])


def test_a_python_that_is_not_here(stacks: ModuleType) -> None:
    with pytest.raises(RcasError, match=r"no Python 3\.99 here"):
        stacks.interpreter("3.99")
    assert stacks.interpreter(f"{sys.version_info.major}.{sys.version_info.minor}")


def test_the_table_goes_into_its_page_and_nothing_else_changes(stacks: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "stacks.md"
    page.write_text("before\n<!-- stacks -->\nold\n<!-- /stacks -->\nafter\n")
    stacks.write_page("| new |", page)
    stacks.write_page("| new |", page)
    assert page.read_text() == "before\n<!-- stacks -->\n| new |\n<!-- /stacks -->\nafter\n"


def test_the_page_has_the_table_of_the_results(stacks: ModuleType) -> None:
    if not stacks.RESULTS.is_file():
        pytest.skip("scripts/stacks has not been run over all stacks")
    assert stacks.table(json.loads(stacks.RESULTS.read_text())["stacks"]) in stacks.PAGE.read_text()
