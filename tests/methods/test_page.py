"""CONTRIBUTING's page "A new method": the method in it is whole, and keeps what every method keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rcas_plugin.registry import methods

from .recorder import contract
from .suite import Case, MethodSuite, Runs
from .test_methods import Embedded

pytestmark = pytest.mark.usefixtures("short_runs")

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## A new method")[2]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    return Embedded(tmp_path_factory.mktemp("embedded"))


@pytest.fixture(scope="module")
def runs(engine: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert 20 <= len(code.splitlines()) <= 45
    before = dict(methods._entries)
    exec(compile(code, "CONTRIBUTING.md", "exec"), {"__name__": "a_new_method"})
    (name,) = methods._entries.keys() - before.keys()
    yield Runs(Case(name, {"patience": 4}), engine, tmp_path_factory.mktemp("runs"))
    del methods._entries[name]


class TestPage(MethodSuite):
    several_processes = False

    def test_it_trains_what_it_says(self, runs: Runs) -> None:
        of_generator = [set(line["moved"]) for line in runs.whole.updates if line["updated"] == "generator"]
        assert all(len(moved) == 12 for moved in of_generator[:4]), "gain and bias of six conditional batch norms"
        assert all(len(moved) > 12 for moved in of_generator[4:])


def test_the_table_of_moments_names_every_call() -> None:
    cells = re.findall(r"^\| (`.*?) \|", PAGE.partition("## Cures")[0], re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(contract())
