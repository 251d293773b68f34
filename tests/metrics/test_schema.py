"""The files of a run's folder as the report reads them: anything else is one sentence."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcas_plugin import RcasError
from rcas_plugin.record import RECORD
from rcas_plugin.report import figures, page
from rcas_plugin.report.lineage import lineage_rows
from rcas_plugin.report.runs import Run, common_level, group, panels
from rcas_plugin.report.verdict import verdict
from rcas_plugin.watch.observer import EDITS, METRICS, read_metrics

NONE = dict.fromkeys(("kernel_distance", "precision", "recall", "density", "coverage"))
NEW = {"recognised": 0.5, "frechet_distance": 3.0, **NONE}
MOMENT = {
    "elapsed_s": 1.0, "evaluation_s": 0.5, "new": NEW, "old": {"left": 0.1, **NONE}, "remaining": NEW,
    "labels": [{"label": 0, "class": "n", "part": "new", **NEW}], "confusion": {"0": [1, 2]},
}  # fmt: skip
JUDGE = {"classes": ["n", "o"], "accuracy": 0.9, "held_out": 10, "accuracy_by_class": {"n": 1.0}, "about": ""}
SWAP = {"method": "x", "slots": {"0": {"old": None, "new": "n"}}, "labels_before": ["o", "r"], "labels": ["n", "r"]}
CONTENT: dict[str, dict[str, Any]] = {
    METRICS: {"judge": JUDGE, "images_a_label": 3, "labels": ["n", "r"], "slots": {"0": {"new": "n", "old": "o"}},
              "before": MOMENT, "steps": {"0": MOMENT, "10": MOMENT}, "machine": "m"},
    EDITS: {"generator": {"w": {"changed": 1, "of": 2, "relative": 0.5}}, "discriminator": {}},
    RECORD: {"labels": ["n", "r"], "swap": {"method": "x"}, "source": "GAN", "slots": {"0": "n"}, "lineage": [
        {**SWAP, "steps": 3, "task": "t", "sha256": "0", "figures": {"0": {"recognised": 0.5, "frechet_distance": 1}}}, SWAP]},
}  # fmt: skip


def read_all(folder: Path) -> None:
    """What `rcas report` takes from the files before it draws anything."""
    run = Run.read(folder)
    groups = group([run])
    verdict(run)
    lineage_rows(run)
    common_level(groups)
    panels(groups)
    for weights in run.edits.values():
        assert all(edit["changed"] / edit["of"] >= 0 for edit in weights.values())
    assert [page._title(groups), figures.numbers(groups[0]), figures.distances(groups[0]), page._facts(groups[0])]
    assert figures.rows_of_parts(run)
    assert len(figures.rows_of_labels(run)) == len(run.last["labels"])
    assert all(page._row_name(int(label), run.metrics["labels"], run.metrics["slots"]) for label in run.metrics["slots"])


def write(folder: Path, content: dict[str, Any]) -> Path:
    for name, values in content.items():
        (folder / name).write_text(json.dumps(values))
    return folder


def paths(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a JSON document."""
    yield path
    for key, value in content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ():
        yield from paths(value, (*path, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.slow
@given(path=st.sampled_from(list(paths(CONTENT))[1:]), value=JSON | st.just({"-1": []}) | st.just({"99": [1]}))
@settings(max_examples=400)
def test_no_value_at_no_place_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, path: tuple[Any, ...], value: Any) -> None:
    """S3: one value of the files replaced by any JSON: the report reads it, or says which file and key."""
    content = json.loads(json.dumps(CONTENT))
    place: Any = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    folder = write(tmp_path_factory.getbasetemp(), content)
    with contextlib.suppress(RcasError):
        read_all(folder)


@given(content=st.fixed_dictionaries(dict.fromkeys(CONTENT, JSON)))
@settings(max_examples=100)
def test_random_json_is_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    """S3: files that hold anything at all."""
    with pytest.raises(RcasError, match=r"swap_metrics\.json cannot be read"):
        read_all(write(tmp_path_factory.getbasetemp(), content))


@pytest.mark.parametrize(
    ("name", "path", "value", "sentence"),
    [
        (METRICS, ("steps", "x"), MOMENT, "steps.x"),
        (METRICS, ("steps", "10", "new"), [], "steps.10.new: "),
        (METRICS, ("steps", "10", "elapsed_s"), -1, "steps.10.elapsed_s: "),
        (METRICS, ("steps", "10", "confusion"), {"7": [1, 2]}, "a label is named that labels does not hold"),
        (METRICS, ("steps", "10", "confusion"), {"0": [1]}, "confusion does not have judge.classes"),
        (METRICS, ("slots", "0", "new"), 3, "slots.0.new: "),
        (EDITS, ("generator", "w", "of"), 0, "generator.w.of: "),
        (RECORD, ("labels",), True, "labels: "),
    ],
)
def test_the_sentence_names_file_and_key(tmp_path: Path, name: str, path: tuple[str, ...], value: Any, sentence: str) -> None:
    """S3: and the cure."""
    content = json.loads(json.dumps(CONTENT))
    place: Any = content[name]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(RcasError) as mistake:
        read_all(write(tmp_path, content))
    assert str(mistake.value).startswith(f"{tmp_path / name} cannot be read (")
    assert sentence in str(mistake.value)
    assert "; delete it, " in str(mistake.value)


def test_what_was_written_is_read_and_a_diverged_figure_is_not_known(tmp_path: Path) -> None:
    write(tmp_path, CONTENT)
    assert read_metrics(tmp_path) == CONTENT[METRICS]
    assert Run.read(tmp_path).edits == CONTENT[EDITS]
    content = json.loads(json.dumps(CONTENT))
    content[METRICS]["steps"]["10"]["new"]["frechet_distance"] = math.nan
    assert Run.read(write(tmp_path, content)).curve("new", "frechet_distance") == {0: 3.0}
