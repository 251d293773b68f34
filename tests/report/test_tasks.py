"""The tasks in a report: what each added, and the picture of the lineage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from rcas_plugin.record import RECORD, LineageSwap
from rcas_plugin.report.page import write_report
from rcas_plugin.report.runs import Run
from rcas_plugin.report.tasks import places, root_of, task_rows
from rcas_plugin.watch.observer import METRICS

from ..shared import Watched
from .test_page import Page


def swap(method: str, slot: int, new: str, before: str, **about: Any) -> LineageSwap:
    after = before[:slot] + new + before[slot + 1 :]
    return LineageSwap.of(method, {slot: new}, before, after).model_copy(update=about)


def written(watched: Watched, folder: Path, *swaps: LineageSwap, **record: Any) -> Path:
    folder.mkdir()
    (folder / METRICS).write_bytes((watched.run / METRICS).read_bytes())
    lineage = [each.model_dump(mode="json", exclude_unset=True) for each in swaps]
    own = json.loads((watched.run / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**own, "lineage": lineage, **record}))
    return folder


def test_each_task_has_a_row_with_what_it_added(watched: Watched, tmp_path: Path) -> None:
    first = swap("gan_memory", 0, "a", "ybc", parameters=300, bytes=2048)
    counts = {"parameters": {"generator": 250, "discriminator": 40, "base": 1000}}
    run = written(watched, tmp_path / "run", first, swap("gan_memory", 1, "d", "abc"), method=counts)
    assert task_rows(Run.read(run)) == [
        ["1", "a", "300", "30.0%", "2,048"],
        ["2", "d", "250", "25.0%", "with the next swap"],
    ]
    page = Page(write_report([run], tmp_path / "out"))
    assert {"Tasks", "2,048", "30.0%"} <= set(page.text)
    with Image.open(tmp_path / "out" / f"{stem_of(tmp_path / 'out')}_lineage.png") as picture:
        assert picture.size[0] > 200


def stem_of(out: Path) -> str:
    (path,) = out.glob("*_lineage.png")
    return path.name.removesuffix("_lineage.png")


def test_methods_that_count_no_parameters_have_no_such_table(watched: Watched, tmp_path: Path) -> None:
    run = written(watched, tmp_path / "run", swap("fine_tune", 0, "a", "ybc"), swap("fine_tune", 1, "d", "abc"))
    assert task_rows(Run.read(run)) == []
    assert "Tasks" not in Page(write_report([run], tmp_path / "out")).text


def test_where_the_states_stand() -> None:
    """A chain, then tasks beside each other behind its last state."""
    chain = [swap("fine_tune", 0, "d", "abc"), swap("class_swap", 1, "e", "dbc")]
    assert places(chain) == [(1, 0, 0), (2, 0, 1)]
    apart = [swap("gan_memory", 2, "f", "dec"), swap("gan_memory", 0, "g", "def"), swap("gan_memory", 2, "h", "gef")]
    assert places([*chain, *apart]) == [(1, 0, 0), (2, 0, 1), (3, 0, 2), (3, 1, 2), (3, 2, 2)]
    assert places(apart) == [(1, 0, 0), (1, 1, 0), (1, 2, 0)]


def test_a_long_lineage_is_drawn_from_the_state_that_its_first_box_started_from() -> None:
    """Of 14 tasks apart behind one swap the last 12 are drawn, and all start from that swap."""
    chain = swap("fine_tune", 0, "d", "abc")
    apart = [swap("gan_memory", number % 3, "f", "dbc") for number in range(14)]
    assert root_of([chain, *apart]) == 1
    assert root_of(apart) == 0
    assert root_of([chain] * 14) == 2
    assert root_of([]) == 0
