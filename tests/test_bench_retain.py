"""The forms of the retain loss side by side: a table from rows written by hand, and tiny runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from rcas_plugin.labels import LabelPlan


@pytest.fixture
def bench(load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script("bench_retain")
    monkeypatch.setattr(module, "MEASUREMENTS", 1)
    monkeypatch.setattr(module, "TRAINING_BATCHES", 4)
    monkeypatch.setattr(module, "TIMED", dataclasses.replace(module.TIMED, widths=(1, 2)))
    monkeypatch.setitem(module.OPTIONS, "batch_size", 8)
    tiny = dataclasses.replace(module.PARTS["mnist"], widths=(1, 2), steps=4, pretrain_steps=2, judge_epochs=1)
    monkeypatch.setitem(module.PARTS, "mnist", tiny)
    return module


def row(bench: ModuleType, **distances: float) -> dict[str, Any]:
    curve = {step[1:]: dict.fromkeys(bench.FIGURES, 0.5) | {"distance": value} for step, value in distances.items()}
    return {"before": dict.fromkeys(bench.FIGURES, 0.25), "curve": curve}


def test_forms_are_compared_at_equal_steps_and_at_equal_time(bench: ModuleType) -> None:
    rows, own = [row(bench, _0=9.0, _10=5.0, _20=7.0)], [row(bench, _0=9.0, _10=8.0, _20=6.0)]
    found = bench.summary(rows, own, speed=2.0)
    assert found["runs"] == 1
    assert found["pre-trained"]["new"][0] == 0.25
    assert found["slot matched"]["distance"][0] == 9
    assert found["end"]["distance"][0] == 7
    assert found["state of the least distance"]["distance"][0] == 5
    assert found["end, less the own pass's"]["distance"][0] == 7 - 6
    # in the time of these 20 steps the own pass, whose steps take twice as long, has done 10
    assert found["at equal time, less the own pass's"]["distance"][0] == 7 - 8
    # and where it is this form that takes twice as long, it has done 10 when the own pass is at 20
    assert bench.summary(rows, own, speed=0.5)["at equal time, less the own pass's"]["distance"][0] == 5 - 6


@pytest.mark.parametrize(
    ("form", "compared"),
    [("own pass", None), ("step's fakes", [0, 1, 2, 3, 4]), ("half of them", [0, 2, 4]), ("no retain", None)],
)
def test_each_form_hands_over_its_part_of_the_batch(
    bench: ModuleType, pair: Any, form: str, compared: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Any] = []
    monkeypatch.setattr(bench.ClassSwap, "generator_loss", lambda self, batch: handed.append(batch))
    plan = LabelPlan(4, {3: 0}, {1: 1, 2: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))
    method = bench.Form(bench.Context(bench.parse_settings({"swap": {3: 0}}), plan), form)
    fakes, labels, z = torch.randn(5, 3, 32, 32), torch.arange(5), torch.randn(5, 6)
    method.generator_loss(bench.Batch(0, fakes, labels, latents=z, raw_fakes=fakes))
    (batch,) = handed
    if form == "own pass":
        assert batch.latents is None
        assert batch.raw_fakes is None
    elif compared is not None:
        assert torch.equal(batch.fake_labels, labels[compared])
        assert torch.equal(batch.latents, z[compared])
        assert torch.equal(batch.raw_fakes, fakes[compared])


@pytest.mark.slow
def test_a_tiny_grid_runs_and_goes_on(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcas_plugin.methods.class_swap.method.UPDATES", 2)
    source, count = np.random.default_rng(0), 60
    arrays = {}
    for part in ("train", "test"):
        classes = np.arange(count) % 10
        arrays |= {f"x_{part}": (25 * classes[:, None, None] + source.integers(0, 20, (count, 28, 28))).astype(np.uint8)}
        arrays |= {f"y_{part}": classes.astype(np.uint8)}
    np.savez(tmp_path / "mnist.npz", **arrays)
    arguments = ["--mnist", str(tmp_path / "mnist.npz"), "--seeds", "1", "--rounds", "1", "--out", str(tmp_path / "out")]
    bench.main(arguments)
    content = json.loads((tmp_path / "out" / "bench_retain.json").read_text())
    assert set(content["mnist"]["table"]) == set(bench.FORMS)
    ends = {form: rows["0"]["curve"]["4"] for form, rows in content["mnist"]["rows"].items()}
    assert len({json.dumps(end) for end in ends.values()}) == 4, "each form trains another way"
    assert len({json.dumps(rows["0"]["curve"]["0"]) for rows in content["mnist"]["rows"].values()}) == 1, "from one start"
    assert content["times"]["fine_tune"]["step, of fine_tune's"] == 1
    monkeypatch.setattr(bench, "run_row", None)  # nothing is run again
    bench.main([*arguments, "--table"])
