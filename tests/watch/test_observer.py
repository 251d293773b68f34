"""A run watched: its metrics file step by step, its page, and a training that does not notice."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.metrics.judge import Judge
from rcas_plugin.metrics.swap import SET_METRICS
from rcas_plugin.settings import parse_settings
from rcas_plugin.watch.observer import METRICS, Observer, load_neighbours, newest, read_metrics, scalars

from ..shared import Watched

pytestmark = pytest.mark.usefixtures("short_runs")


def test_the_metrics_of_each_moment_are_there(watched: Watched) -> None:
    found = read_metrics(watched.run)
    assert list(found["steps"]) == ["0", "1", "2"]
    assert found["slots"] == {"1": {"new": "d", "old": "b"}}
    assert found["labels"] == ["a", "d", "c"]
    assert found["images_a_label"] == 5
    assert {"machine", "commit", "date", "command"} <= set(found)
    elapsed = [found["steps"][step]["elapsed_s"] for step in "012"]
    assert elapsed == sorted(elapsed)
    for moment in (found["before"], *found["steps"].values()):
        assert set(moment["new"]) == {"recognised", "entropy", *SET_METRICS}
        assert sum(map(sum, moment["confusion"].values())) == 15
        assert moment["evaluation_s"] > 0
    assert set(found["steps"]["2"]["neighbours"]["authentic"]) == {"1"}


def test_an_old_class_without_images_is_judged_by_the_pretrained_gan(watched: Watched) -> None:
    found = read_metrics(watched.run)
    assert found["judge"]["classes"] == ["a", "c", "d", "b"]
    assert found["judge"]["about"] == "no real images of b: images of the pre-trained GAN stand for them"
    assert found["before"]["old"]["left"] is not None


def test_a_page_is_made(watched: Watched) -> None:
    assert (watched.run / "report" / "report.html").is_file()


def test_neighbours_are_kept(watched: Watched) -> None:
    ((label, (fakes, reals, distances)),) = load_neighbours(watched.run).items()
    assert label == 1
    assert fakes.shape == reals.shape == (5, 3, 32, 32)
    assert len(distances) == 5
    assert float(reals.mean()) > 0.3, "d is the brightest of the classes"


def test_training_does_not_notice(watched: Watched) -> None:
    alone = watched.swap(swap_metrics=0, snapshot_images=0)
    assert not (alone / METRICS).exists()
    states = [read_checkpoint(checkpoint_files(run)["G"])["state_dict"] for run in (watched.run, alone)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.fixture
def observer_of(judge_of: Callable[..., Judge]) -> Callable[..., Observer]:
    """(folder, keys of the section) -> an observer as a run has it that starts, or goes on, there."""

    def make(folder: Path, **section: object) -> Observer:
        settings = parse_settings({"swap": {"b": "d"}, "snapshot_images": 0, **section})
        judge = judge_of(folder)
        return Observer(folder, judge.plan, settings, judge, log=lambda line: None)

    return make


def test_a_run_that_goes_on(tmp_path: Path, observer_of: Callable[..., Observer], pair: tuple[Generator, Discriminator]) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    first = observer_of(tmp_path)
    first.before(gan)
    first.prepared(gan)
    for step in (10, 20):
        first.saved(step, gan)
    assert first.saved(25, gan, judged=False) is None, "who interrupts waits for no metrics"
    content = json.loads((tmp_path / METRICS).read_text())
    content["steps"]["20"]["elapsed_s"] = 100.0
    (tmp_path / METRICS).write_text(json.dumps(content))
    second = observer_of(tmp_path)
    found = second.saved(20, gan)
    assert found is not None
    assert found["elapsed_s"] >= 100, "time goes on where it was"
    assert list(read_metrics(tmp_path)["steps"]) == ["0", "10", "20"]
    second.saved(15, gan)
    assert list(read_metrics(tmp_path)["steps"]) == ["0", "10", "15"], "of the steps that it goes back over nothing is left"
    assert "before" in read_metrics(tmp_path)


def test_a_broken_file_is_begun_anew(
    tmp_path: Path, observer_of: Callable[..., Observer], pair: tuple[Generator, Discriminator]
) -> None:
    assert read_metrics(tmp_path) == {}
    (tmp_path / METRICS).write_text('{"steps": ')
    with pytest.raises(RcasError, match=r"swap_metrics\.json cannot be read"):
        read_metrics(tmp_path)
    observer_of(tmp_path).saved(3, Gan(*pair, None, gaussian_latents(6)))
    assert list(read_metrics(tmp_path)["steps"]) == ["3"]


def test_tensorboard(tmp_path: Path, observer_of: Callable[..., Observer], pair: tuple[Generator, Discriminator]) -> None:
    observer_of(tmp_path, tensorboard=True).saved(3, Gan(*pair, None, gaussian_latents(6)))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    wanted = scalars(read_metrics(tmp_path)["steps"]["3"])
    assert set(board.Tags()["scalars"]) == {f"swap/{name}" for name in wanted}
    (event,) = board.Scalars("swap/new/frechet_distance")
    assert event.step == 3
    assert event.value == pytest.approx(wanted["new/frechet_distance"], rel=1e-6)


def test_tensorboard_without_the_package(
    tmp_path: Path, observer_of: Callable[..., Observer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RcasError, match=r"RCAS.tensorboard: the package is missing; pip install tensorboard"):
        observer_of(tmp_path, tensorboard=True)


def test_the_figures_beside_the_bar() -> None:
    assert newest({"new": {"recognised": 0.954}, "old": {}, "remaining": {"recognised": None}}) == {"new": "95%"}
