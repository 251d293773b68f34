"""The best state through a whole run on the embedded networks: kept, gone on with, averaged, and the end of a run by itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.best import kept_step
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded import loop, steps
from rcas_plugin.record import read_record
from rcas_plugin.report.runs import Run
from rcas_plugin.report.verdict import verdict
from rcas_plugin.settings import parse_settings
from rcas_plugin.watch.observer import METRICS, read_metrics
from rcas_plugin.watch.snapshots import load_snapshot, save_snapshot

from ..shared import Watched, short_endings

#: Preparation matches the slot to the new class, and each step of training then spoils it.
MATCHED = {
    "method": "class_swap", "label_start": {"iterations": 12, "batch_size": 6}, "swap_metrics": 12,
    "share": 0.0, "batch_norm": "batch", "average": 0.0,
}  # fmt: skip
RUINOUS = {"batch_size": 4, "beta1": 0.0, "total_steps": 4, "g_lr": 0.5, "d_lr": 0.5}


def section(**rcas: Any) -> dict[str, Any]:
    return {"swap": {"b": "d"}, "snapshot_images": 2, **MATCHED, **rcas}


def train(watched: Watched, out: Path, ckpt: Path | None = None, **rcas: Any) -> Path:
    """The folder of a run whose training makes it worse; it goes on where `ckpt` is its own."""
    config = watched.config(RCAS=section(**rcas), OPTIMIZATION=RUINOUS)
    shutil.copytree(watched.run.parents[1] / "domain", out / "domain", dirs_exist_ok=True)  # one judge is trained for all
    return loop.train(config, watched.root / "data", out, ckpt or watched.pretrained, save_freq=1, progress=False)


pytestmark = pytest.mark.usefixtures("short_runs")


@pytest.fixture(scope="module")
def ruined(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with short_endings():
        return train(watched, tmp_path_factory.mktemp("ruined"))


def test_a_run_that_training_makes_worse_keeps_its_start(ruined: Path) -> None:
    run = Run.read(ruined)
    assert list(run.steps) == [0, 1, 2, 3, 4]
    assert run.best_step == kept_step(ruined) == 0
    assert Checkpoint.read(ruined).step == 4
    assert "kept is step 0, right after preparation; training made it worse (" in verdict(run)
    recorded = json.loads((ruined / METRICS).read_text())["best"]
    record = read_record(ruined).best
    assert record is not None
    assert record.model_dump() == recorded
    assert recorded["step"] == 0
    assert recorded["why"]
    page = (ruined / "report" / "report.html").read_text()
    assert "The best state is step 0:" in page
    assert "right after preparation" in page


def test_the_best_weights_are_those_that_were_judged(ruined: Path, watched: Watched) -> None:
    """The files of `-best` hold what step 0 was: judged again, they give step 0's figures."""
    best = Checkpoint.read(ruined, best=True)
    assert best.step == best.contents["D"]["best_step"] == 0
    gan = loop.build_gan(loop.read_config(watched.config(RCAS=section(), OPTIMIZATION=RUINOUS)))
    gan.generator.load_state_dict(best.states["generator"])
    labels = sorted(set(load_snapshot(ruined, "reinit")[1].tolist()))
    save_snapshot(ruined.parent, "again", gan, labels, 2)
    assert torch.equal(load_snapshot(ruined.parent, "again")[0], load_snapshot(ruined, "reinit")[0])
    newest = Checkpoint.read(ruined).states["generator"]
    assert not torch.equal(newest["conv2d5.weight"], best.states["generator"]["conv2d5.weight"])


@pytest.mark.parametrize("best", [True, False])
def test_the_next_swap_starts_from_the_state_that_is_asked_for(
    ruined: Path, watched: Watched, tmp_path: Path, best: bool
) -> None:
    shutil.copytree(watched.root / "data", tmp_path / "data")
    shutil.copytree(tmp_path / "data" / "train" / "a", tmp_path / "data" / "train" / "e")
    rcas = {"method": "fine_tune", "swap": {"d": "e"}, "swap_metrics": 0, "snapshot_images": 2}
    config = watched.config(RCAS=rcas, OPTIMIZATION={"batch_size": 4, "beta1": 0.0, "total_steps": 1})
    run = loop.train(config, tmp_path / "data", tmp_path / "out", ruined, best=best, progress=False)
    images, labels = load_snapshot(run, "before")
    states = Checkpoint.read(ruined, best=best).states
    gan = loop.build_gan(loop.read_config(config))
    gan.generator.load_state_dict(states["generator"])
    save_snapshot(tmp_path, "asked", gan, sorted(set(labels.tolist())), 2)
    assert torch.equal(images, load_snapshot(tmp_path, "asked")[0])


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_run_that_goes_on_keeps_what_it_knew(
    average: float, ruined: Path, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: newest and best weights, the average, and which state is the best; from step 0 on as well."""
    whole = train(watched, tmp_path / "whole", average=average) if average else ruined
    original = steps.Loop.step

    def stopped(self: steps.Loop, step: int) -> None:
        if step == stop:
            raise KeyboardInterrupt
        original(self, step)

    monkeypatch.setattr(steps.Loop, "step", stopped)
    parts = None
    for stop in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            train(watched, tmp_path / "parts", parts, average=average)
        (parts,) = (tmp_path / "parts" / "checkpoints").iterdir()
        assert Checkpoint.read(parts).step == stop
        torch.manual_seed(99)
    monkeypatch.setattr(steps.Loop, "step", original)
    assert train(watched, tmp_path / "parts", parts, average=average) == parts
    assert read_metrics(parts)["best"] == read_metrics(whole)["best"]
    for best in (False, True):
        first, second = (Checkpoint.read(run, best=best) for run in (whole, parts))
        assert first.step == second.step
        for network in first.states:
            weights, again = first.states[network], second.states[network]
            assert all(torch.equal(value, again[key]) for key, value in weights.items())
    names = [sorted(path.name for path in run.glob("average-*")) for run in (whole, parts)]
    assert names == [["average-step=4.safetensors"] if average else []] * 2


def test_the_average_is_what_is_judged_and_kept(watched: Watched, tmp_path: Path) -> None:
    """Without a moving average of StudioGAN's: with a decay of nearly 1 the average stays where the match was."""
    run = train(watched, tmp_path, average=0.999999)
    figures = [moment["new"]["frechet_distance"] for moment in read_metrics(run)["steps"].values()]
    assert max(figures) - min(figures) < 0.05 * max(figures), "the weights themselves are ruined by then"
    step = Run.read(run).best_step
    assert kept_step(run) == step
    best, newest = (Checkpoint.read(run, best=which).states["generator"] for which in (True, False))
    assert not torch.allclose(best["conv2d5.weight"], newest["conv2d5.weight"], atol=0.01)
    assert set(best) == set(newest)


def test_a_process_that_is_killed_between_figures_and_files_mends_it(watched: Watched, ruined: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / ruined.name
    shutil.copytree(ruined, folder)
    metrics = json.loads((folder / METRICS).read_text())
    metrics["best"] = {"step": 4, "why": "as if"}
    (folder / METRICS).write_text(json.dumps(metrics))
    assert train(watched, tmp_path, folder) == folder
    assert kept_step(folder) == 4
    record = read_record(folder).best
    assert record is not None
    assert record.step == 4


def test_a_run_ends_by_itself_and_is_not_started_again(
    watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(watched, tmp_path, stop={"patience": 2})
    assert "the run ends by itself: of the last 2 save steps none was better than step 0" in capsys.readouterr().out
    assert list(read_metrics(run)["steps"]) == ["0", "1", "2"]
    assert Checkpoint.read(run).step == 2
    assert verdict(Run.read(run)).endswith("; the run ended by itself.")
    assert (run / "report" / "report.html").is_file()
    assert train(watched, tmp_path, run, stop={"patience": 2}) == run
    assert Checkpoint.read(run).step == 2, "the same command does nothing"
    assert train(watched, tmp_path, run) == run
    assert Checkpoint.read(run).step == 4, "without RCAS.stop it goes on, as the same swap"
    assert not Run.read(run).stopped


def test_to_stop_needs_a_judge() -> None:
    with pytest.raises(RcasError, match=r"^RCAS.stop.patience: nothing is judged with swap_metrics 0"):
        parse_settings({"swap": {9: 0}, "swap_metrics": 0, "stop": {"patience": 3}})
