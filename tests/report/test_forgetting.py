"""What a report says of forgetting, and of a second judge, are the figures of the runs' own files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin.record import LineageSwap, Record, SlotFigures
from rcas_plugin.report.forgetting import HEADS, forgetting_rows, sequence_sentence
from rcas_plugin.report.runs import Group, Run
from rcas_plugin.report.second import SHOWN, agreement, second_rows


def moment(**changes: Any) -> dict[str, Any]:
    figures = {"recognised": 0.5, "frechet_distance": 3.0, "entropy": 0.25}
    return {"new": figures, "old": {"left": 0.1, "probability": 0.125}, "remaining": figures, "labels": [],
            "worst": {"recognised": {"label": 0, "class": "a", "value": 0.75},
                      "frechet_distance": {"label": 2, "class": "c", "value": 12.345}}, **changes}  # fmt: skip


def run_of(steps: dict[str, Any], record: Record | None = None, **content: Any) -> Run:
    return Run(Path("x"), record or Record(), {"steps": steps, **content}, {})


def test_rows_of_the_moments_that_have_them() -> None:
    late = moment(old={"left": 0.0, "probability": None}, worst={})
    run = run_of({"0": moment(), "1000": late}, before=moment())
    rows = forgetting_rows(run)
    assert [row[0] for row in rows] == ["before", "step 0", "step 1,000"]
    assert rows[0][1:] == ["10.0%", "12.5%", "0.25", "0.25", "a: 75.0%", "c: 12.3"]
    assert rows[2][1:] == ["0.0%", "", "0.25", "0.25", "", ""]
    assert all(len(row) == len(HEADS) for row in rows)


def test_a_run_of_an_earlier_version_has_none() -> None:
    old = {key: value for key, value in moment().items() if key != "worst"}
    assert forgetting_rows(run_of({"0": old})) == []


def test_the_sequence_in_words() -> None:
    """x came, then y, then x went for z, which is the run's own swap."""
    swaps: list[Any] = [LineageSwap.of("fine_tune", {1: "x"}, "abc", "axc").model_copy(
                            update={"figures": {1: SlotFigures(recognised=0.9, frechet_distance=1.0)}}),
                        LineageSwap.of("fine_tune", {0: "y"}, "axc", "yxc").model_copy(
                            update={"figures": {0: SlotFigures(recognised=0.8, frechet_distance=1.0)}}),
                        LineageSwap.of("fine_tune", {1: "z"}, "yxc", "yzc")]  # fmt: skip
    labels = [{"class": "y", "recognised": 0.6}, {"class": "z", "recognised": 1.0}, {"class": "c", "recognised": 0.1}]
    sentence = sequence_sentence(run_of({"0": moment(labels=labels)}, Record(lineage=tuple(swaps))))
    assert "recognised in 80.0% on average" in sentence, "y and z, and not c, whose figure at its pre-training nobody knows"
    assert "20.0 points over y, and backward transfer -20.0" in sentence
    assert "left out: x" in sentence
    assert sequence_sentence(run_of({"0": moment()})) == ""


def group_of(name: str, first: tuple[float, float], second: tuple[float, float] | None) -> Group:
    def parts(distances: tuple[float, float]) -> dict[str, Any]:
        new, rest = ({"recognised": 0.5, "frechet_distance": distance} for distance in distances)
        return {"new": new, "old": {"left": 0.25}, "remaining": rest}

    return Group(name, (run_of({"0": moment(**parts(first), **({"second": parts(second)} if second else {}))}),))


def test_both_judges_stand_side_by_side() -> None:
    rows = second_rows([group_of("p", (3.0, 4.0), (5.0, 6.0)), group_of("q", (1.0, 1.0), None)])
    assert [row[:2] for row in rows] == [["p", "first"], ["p", "second"]]
    assert rows[1][2:] == ["50.0 %", "5", "25.0 %", "50.0 %", "6"]
    assert len(SHOWN) == 5


def test_it_is_said_whether_they_rank_alike() -> None:
    groups = [group_of("p", (3.0, 4.0), (5.0, 9.0)), group_of("q", (1.0, 5.0), (2.0, 6.0))]
    sentence = agreement(groups)
    assert "alike by the distance to the new class: q, p." in sentence
    assert "differ by the distance of the remaining labels, best first: the first says p, q; the second q, p." in sentence
    assert agreement(groups[:1]) == ""
    assert agreement([groups[0], group_of("r", (0.0, 0.0), None)]) == ""


def test_several_seeds_are_a_mean_with_an_interval() -> None:
    one = group_of("p", (3.0, 4.0), (5.0, 6.0))
    two = dataclasses.replace(one, runs=(*one.runs, *group_of("p", (3.0, 4.0), (7.0, 6.0)).runs))
    assert second_rows([two])[1][3].startswith("6 [")


@pytest.mark.parametrize("missing", ["old", "remaining"])
def test_what_no_run_has_is_not_known(missing: str) -> None:
    group = group_of("p", (3.0, 4.0), (5.0, 6.0))
    group.runs[0].last["second"][missing] = {}
    assert "not known" in second_rows([group])[1]
