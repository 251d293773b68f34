"""The report of a swap of a swap: every swap so far, and what has become of its class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin.record import RECORD, LineageSwap, SlotFigures
from rcas_plugin.report.lineage import lineage_rows
from rcas_plugin.report.page import write_report
from rcas_plugin.report.runs import Run
from rcas_plugin.watch.observer import METRICS

from ..shared import Watched
from .test_page import Page


@pytest.fixture
def run(watched: Watched, tmp_path: Path) -> Path:
    """A run of b for d among a, b, c, with two swaps before it: x for b, and y for a."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / METRICS).write_bytes((watched.run / METRICS).read_bytes())
    swaps: list[Any] = [
        LineageSwap.of("fine_tune", {1: "b"}, "yxc", "ybc").model_copy(
            update={"steps": 1200, "figures": {1: SlotFigures(recognised=0.875, frechet_distance=12.34)}}
        ),
        LineageSwap.of("class_swap", {0: "a"}, "ybc", "abc"),
        LineageSwap.of("fine_tune", {1: "d"}, "abc", "adc"),
    ]
    lineage = [swap.model_dump(mode="json", exclude_unset=True) for swap in swaps]
    record = json.loads((watched.run / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**record, "lineage": lineage}))
    return folder


def test_each_swap_has_a_row_with_its_class_then_and_now(run: Path) -> None:
    labels = {row["class"]: row for row in Run.read(run).kept["labels"]}
    now = {name: [f"{row['recognised']:.1%}", f"{row['frechet_distance']:.3g}"] for name, row in labels.items()}
    rows = lineage_rows(Run.read(run))
    assert rows[0] == ["1", "1", "x → b", "fine_tune", "1,200", "87.5%", "12.3", "replaced by d", ""]
    assert rows[1][:7] == ["2", "0", "y → a", "class_swap", "", "not judged", ""]
    assert rows[1][7] == now["a"][0]
    assert rows[2][:5] == ["3", "1", "b → d", "fine_tune", "2"]
    assert rows[2][5:7] == rows[2][7:]
    assert rows[2][7] == now["d"][0]


@pytest.mark.usefixtures("short_runs")
def test_the_page_shows_it(run: Path, watched: Watched, tmp_path: Path) -> None:
    page = Page(write_report([run], tmp_path / "out"))
    assert "Lineage" in page.text
    assert {"x → b", "1,200", "replaced by d"} <= set(page.text)
    assert "Lineage" not in Page(write_report([watched.run], tmp_path / "first")).text, "a first swap has none to show"
