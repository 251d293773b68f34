"""The page and the sentence of class-incremental learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rcas_plugin.errors import RcasError
from rcas_plugin.files import write_json
from rcas_plugin.report.classify import PAGE, RESULTS, Classify, caption, read_classify, rows, verdict, write_page


def figures(name: str, final: float, spread: float = 0.0) -> dict[str, Any]:
    final_interval = [final, final - spread, final + spread]
    return {
        "name": name, "seeds": 3 if spread else 1, "accuracy": [[0.9, 0.9, 0.9], final_interval], "average": final_interval,
        "average_later": final_interval, "forgetting": [0.25, 0.25, 0.25], "backward_transfer": [-0.25, -0.25, -0.25],
        "matrix": [[0.9], [0.5, final]], "seconds": [75.0, 75.0, 75.0],
    }  # fmt: skip


def results(*several: dict[str, Any]) -> Classify:
    content = {"tasks": [["a", "b"], ["<c>"]], "strategies": list(several), "bounds": ["fine_tune", "joint"],
               "memory": 100, "test": 60}  # fmt: skip
    return Classify.model_validate(content, strict=False)


def test_the_verdict_says_where_each_is_between_the_bounds() -> None:
    said = verdict(results(figures("fine_tune", 0.3), figures("replay", 0.5), figures("gan_memory", 0.7), figures("joint", 0.8)))
    assert said == (
        "After the last task, of 3 classes: the new task's images alone end at 30.0% (fine_tune), all real images at 80.0% "
        "(joint); between them gan_memory at 70.0%, 80% of the way, replay at 50.0%, 40% of the way."
    )


@pytest.mark.parametrize(
    ("several", "said"),
    [
        ([figures("replay", 0.5)], "replay 50.0%; without both fine_tune and joint nothing bounds them."),
        ([figures("fine_tune", 0.3), figures("joint", 0.8)], "all real images at 80.0% (joint)."),
        (
            [figures("fine_tune", 0.9), figures("replay", 0.5), figures("joint", 0.8)],
            "so that they bound nothing; replay at 50.0%.",
        ),
    ],
)
def test_the_verdict_without_bounds(several: list[dict[str, Any]], said: str) -> None:
    assert verdict(results(*several)).endswith(said)


def test_the_table_has_intervals_where_there_are_several_seeds() -> None:
    several = results(figures("replay", 0.5, 0.1), figures("joint", 0.8))
    assert rows(several)[0] == [
        "replay", "50.0 [40.0, 60.0] %", "50.0 [40.0, 60.0] %", "50.0 [40.0, 60.0] %", "25.0 %", "-25.0 %", "75 s"
    ]  # fmt: skip
    assert "95 % intervals over 3 seeds" in caption(several)
    assert "of one seed" in caption(results(figures("joint", 0.8)))


def test_the_page_is_whole_and_takes_names_as_text(tmp_path: Path) -> None:
    page = write_page(results(figures("fine_tune", 0.3), figures("joint", 0.8)), tmp_path).read_text()
    assert "data:image/png;base64," in page
    assert "&lt;c&gt;" in page
    assert "<c>" not in page
    assert ".verdict" in page, "it has the style of the reports"
    assert (tmp_path / PAGE).is_file()


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    assert read_classify(tmp_path) is None
    write_json(tmp_path / RESULTS, {**results(figures("joint", 0.8)).model_dump(mode="json"), "tasks": [["a"]]})
    with pytest.raises(RcasError, match="a strategy has another number of tasks"):
        read_classify(tmp_path)
