"""`rcas swap` on the run of an `rcas swap`, again and again, with nothing to do by hand between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.gan import Gan
from rcas_plugin.record import read_record
from rcas_plugin.report.page import PAGE, REPORT
from rcas_plugin.studiogan.networks import load_gan

from .conftest import Trained, write_images

pytestmark = pytest.mark.slow
SWAPS = (("b", "d"), ("d", "e"))


def test_swaps_in_a_row(
    trained: Trained, upstream: Any, tmp_path: Path, load_script: Callable[[str], ModuleType], capfd: pytest.CaptureFixture[str]
) -> None:
    """Issue 14: another slot, the same slot again with the old folder gone; the first state comes back from the last folder."""
    script = load_script("five_swaps")
    data = [trained.new_data, write_images(tmp_path / "kept", "acde")]
    out = tmp_path / "out"
    runs = script.swap_in_a_row(trained.studiogan, trained.checkpoint, data, SWAPS, out, method="fine_tune", steps=2)
    record = read_record(runs[-1])
    assert [(swap.slots[1].old, swap.slots[1].new) for swap in record.lineage] == [("b", "d"), ("d", "e")]
    assert record.lineage[0].run == runs[0].name
    assert record.lineage[0].figures[1].recognised is not None
    assert "Lineage" in (runs[-1] / REPORT / PAGE).read_text()

    def judge(name: str, images: Tensor) -> dict[str, float]:
        return {"recognised": 0.5, "frechet_distance": float(images.mean())}

    def load(folder: Path) -> Gan:
        return load_gan(trained.studiogan, trained.config, folder, best=folder != trained.checkpoint)

    rows = script.look_back(runs, load, judge, 3)
    script.print_rows(rows)
    assert "| 1 | 1 | b → d | 50.0% | " in capfd.readouterr().out
    assert rows[0]["brought_back_to_the_bit"]
    assert (rows[0]["now"], rows[0]["replaced_by"]) == (None, "e")
    assert rows[1]["then"] == rows[1]["now"]
    assert rows[0]["then"] != rows[1]["then"]

    matrix = script.recognised_over_the_sequence(trained.checkpoint, runs, load, judge, 3)
    assert [sorted(values) for values in matrix] == [["a", "b", "c"], ["a", "c", "d"], ["a", "c", "e"]]
    matrix[-1]["a"] = 0.2
    figures = script.forgetting_of(matrix)
    assert figures.forgetting == {"a": 0.3, "c": 0.0}
    assert figures.left_out == ("b", "d")
    script.print_forgetting(figures)
    assert "forgetting 15.0 points (a: 30.0, c: 0.0), backward transfer -15.0" in capfd.readouterr().out

    lineage = json.loads((runs[-1] / "rcas.json").read_text())["lineage"]
    again = script.swap_in_a_row(trained.studiogan, runs[0], data[1:], SWAPS[1:], out, method="fine_tune", steps=4)
    assert again == runs[1:], "the last swap goes on"
    assert read_checkpoint(checkpoint_files(runs[-1])["D"])["step"] == 4
    assert json.loads((runs[-1] / "rcas.json").read_text())["lineage"] == lineage, "a run that goes on keeps what it started with"
