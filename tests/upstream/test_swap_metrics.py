"""The real main.py: metrics at each save step, in the log, the file and wandb; a page at the end; a run that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rcas_plugin.watch.observer import METRICS

from .conftest import TRAIN, Trained, run_main

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stored", [(), ("-hdf5", "-l")])
def test_a_swap_is_judged_as_it_goes(trained: Trained, tmp_path: Path, stored: tuple[str, ...]) -> None:
    config = trained.swap_config(tmp_path / "swap.yaml", method="fine_tune", swap_metrics=10)
    options = (*TRAIN, *stored, "-cfg", config, "-data", trained.new_data, "-save", tmp_path / "out")
    ended = run_main(trained.studiogan, *options, "-ckpt", trained.checkpoint, WANDB_MODE="offline", WANDB_DIR=str(tmp_path))
    (run,) = (tmp_path / "out" / "checkpoints").iterdir()
    found = json.loads((run / METRICS).read_text())
    assert list(found["steps"]) == ["0", "2", "4"]
    assert found["judge"]["classes"] == ["a", "b", "c", "d"]
    assert found["labels"] == ["a", "d", "c"]
    assert found["before"]["labels"][1]["old"]["class"] == "b"
    assert ended.stdout.count("domain backbone: a classifier of 4 classes") + ended.stderr.count("domain backbone: a") == 1
    log = next((tmp_path / "out" / "logs").glob("*.log")).read_text()
    assert "swap metrics, step 0: new class" in log
    assert f"swap metrics, step 4: new class {found['steps']['4']['new']['recognised']:.1%} recognised" in log
    page = run / "report" / "report.html"
    assert f"rcas: the report is {page}" in ended.stdout
    assert page.is_file()
    (stored_run,) = tmp_path.rglob("run-*.wandb")
    content = stored_run.read_bytes()
    for name in (b"swap/new/frechet_distance", b"swap/old/left", b"swap/remaining/recognised"):
        assert name in content

    longer = trained.swap_config(tmp_path / "swap.yaml", steps=6, method="fine_tune", swap_metrics=10)
    assert longer == config
    run_main(trained.studiogan, *options, "-ckpt", run)
    again = json.loads((run / METRICS).read_text())
    assert list(again["steps"]) == ["0", "2", "4", "6"]
    assert again["steps"]["4"] == found["steps"]["4"]
    assert again["steps"]["6"]["elapsed_s"] > again["steps"]["4"]["elapsed_s"]
    assert len(list((tmp_path / "out" / "domain").iterdir())) == 1, "the judge is trained once"
