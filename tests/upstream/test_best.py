"""The real main.py: the best state of a swap is kept in upstream's files, `-best` loads it, and a run ends by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcas_plugin.checkpoints.best import kept_step
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.record import read_record
from rcas_plugin.watch.observer import read_metrics

from .conftest import TRAIN, Trained, run_main

pytestmark = pytest.mark.slow

#: Each step of training spoils what preparation has matched.
RUINOUS = {"OPTIMIZATION": {"g_lr": 0.5, "d_lr": 0.5}}
MATCHED = {"preset": None, "label_start": {"iterations": 20, "batch_size": 8}, "swap_metrics": 12}


def test_minus_best_loads_the_best_state(trained: Trained, tmp_path: Path) -> None:
    """Step 0 wins; a swap with `-best` starts from it, and an upstream without the plugin draws its images."""
    config = trained.swap_config(tmp_path / "swap.yaml", sections=RUINOUS, average=0.5, **MATCHED)
    data = ("-data", trained.new_data, "-save", tmp_path / "out")
    ended = run_main(trained.studiogan, *TRAIN, "-cfg", config, *data, "-ckpt", trained.checkpoint)
    (run,) = (tmp_path / "out" / "checkpoints").iterdir()
    metrics = read_metrics(run)
    assert list(metrics["steps"]) == ["0", "2", "4"]
    best, record = metrics["best"]["step"], read_record(run).best
    assert record is not None
    assert best == record.step == kept_step(run) == 0
    assert f"the best state is step {best}" in ended.stdout + ended.stderr
    files = {path.name for path in run.glob("*.pth")}
    assert files == {f"model={n}-{w}-weights-step={s}.pth" for n in "GD" for w, s in (("best", 0), ("current", 4))}
    content = Checkpoint.read(run, best=True)
    assert content.contents["D"]["best_step"] == content.step == 0
    assert [path.name for path in run.glob("average-*")] == ["average-step=4.safetensors"]

    again = trained.swap_config(tmp_path / "again.yaml", steps=2, swap={"c": "b"}, method="fine_tune")
    second = run_main(trained.studiogan, *TRAIN, "-cfg", again, "-data", trained.new_data, "-save", tmp_path / "next",
                      "-ckpt", run, "-best")  # fmt: skip
    assert "fine_tune starts from" in second.stdout
    (folder,) = (tmp_path / "next" / "checkpoints").iterdir()
    first = read_record(folder).swaps[0]
    assert first.steps == 0
    rows = {row["label"]: row for row in metrics["steps"]["0"]["labels"]}
    assert first.figures[1].frechet_distance == rows[1]["frechet_distance"]
    from rcas_plugin.checkpoints.lineage import read_lineage

    state = read_lineage(folder).states[1]
    assert all(torch.equal(value, state[key]) for key, value in content.states["generator"].items())
    look = ("-metrics", "none", "-v", "--num_workers", "0", "-best", "-data", trained.new_data, "-save", tmp_path / "look")
    seen = run_main(trained.studiogan, *look, "-cfg", config, "-ckpt", run)
    assert f"{run}/model=G-best-weights-step=0.pth" in seen.stdout + seen.stderr


def test_a_run_ends_by_itself_and_the_same_command_does_not_start_it_again(trained: Trained, tmp_path: Path) -> None:
    def run_it(ckpt: Path, patience: int) -> tuple[Path, str]:
        config = trained.swap_config(tmp_path / "swap.yaml", steps=8, sections=RUINOUS, stop={"patience": patience}, **MATCHED)
        options = ("-cfg", config, "-data", trained.new_data, "-save", tmp_path / "out")
        ended = run_main(trained.studiogan, *TRAIN, *options, "-ckpt", ckpt)
        (folder,) = (tmp_path / "out" / "checkpoints").iterdir()
        return folder, ended.stdout + ended.stderr

    run, said = run_it(trained.checkpoint, 2)
    assert "the run ends by itself: of the last 2 save steps none was better than step 0" in said
    assert f"rcas: the report is {run}" in said
    assert Checkpoint.read(run).step == 4
    _, said = run_it(run, 2)
    assert "the run ends by itself" in said
    assert Checkpoint.read(run).step == 4
    run_it(run, 0)
    assert Checkpoint.read(run).step == 8
    assert list(read_metrics(run)["steps"]) == ["0", "2", "4", "6", "8"]


def test_two_processes_end_together(trained: Trained, tmp_path: Path) -> None:
    config = trained.swap_config(tmp_path / "swap.yaml", steps=8, sections=RUINOUS, stop={"patience": 1}, **MATCHED)
    options = ("-cfg", config, "-data", trained.new_data, "-save", tmp_path, "-ckpt", trained.checkpoint)
    ended = run_main(trained.studiogan, *TRAIN, "-DDP", *options, RCAS_CPU_PROCESSES="2")
    assert "the run ends by itself" in ended.stdout + ended.stderr
    (run,) = (tmp_path / "checkpoints").iterdir()
    assert Checkpoint.read(run).step == 2
    assert kept_step(run) == 0
