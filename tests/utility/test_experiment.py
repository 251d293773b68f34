"""The comparison: no test image is ever learnt from, what is there is kept, and the sign of an effect is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rcas_plugin.data.stock import Stock
from rcas_plugin.metrics.curves import mean_interval
from rcas_plugin.report.utility import ALONE, AUGMENTED, BOTH, GENERATED, REAL
from rcas_plugin.utility import experiment as module
from rcas_plugin.utility.experiment import Experiment, stock_of
from rcas_plugin.utility.material import Material, Part
from rcas_plugin.utility.summary import GAINS, summary
from rcas_plugin.utility.training import Mixture, train_detector
from rcas_plugin.utility.trials import CONDITIONS, Options, Trial, choosing, trainings

from .conftest import CORNERS, squares

TINY = Options(sizes=(4, 12), seeds=2, amounts=(0.5, 2.0), steps=2, batch_size=8, generated=20)


def perfect(material: Material, count: int = 20) -> Stock:
    """Generated images that are as good as real ones."""
    calls = iter(range(1000))
    return stock_of(lambda name, size: squares(name, size, 1000 + next(calls)).expand(-1, 3, -1, -1), material, count,
                    progress=False)  # fmt: skip


def test_no_test_image_is_learnt_from_or_chosen_by(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every training the images that it is shown, and those that it is judged on, are the files that they may be."""
    shown: list[Part | None] = []
    judged: list[Part] = []
    parts = Experiment.parts

    def watched(self: Experiment, trial: Trial) -> tuple[Part | None, Part]:
        found = parts(self, trial)
        shown.append(found[0])
        judged.append(found[1])
        return found

    monkeypatch.setattr(Experiment, "parts", watched)
    run = Experiment(material, TINY, lambda: perfect(material), tmp_path, progress=False)
    run.run()
    train, test = set(material.train.files), set(material.test.files)
    assert not train & test
    assert len(shown) == trainings(TINY) == 2 * (2 * (3 + 4) + 1)
    final, choosing_parts = 0, 0
    for learnt, looked_at in zip(shown, judged, strict=True):
        files = set() if learnt is None else set(learnt.files)
        assert files <= train
        assert not files & set(looked_at.files)
        if set(looked_at.files) == test:
            final += 1
            continue
        choosing_parts += 1
        assert set(looked_at.files) <= train, "an amount is chosen on training images"
        assert learnt is not None
        assert not set(learnt.photographs) & set(looked_at.photographs), "photographs are on one side"
        assert set(looked_at.labels.tolist()) == {0, 1, 2}
    assert (final, choosing_parts) == (2 * (2 * 4 + 1), 2 * 2 * 3)


def test_what_each_training_is_shown(material: Material, tmp_path: Path) -> None:
    run = Experiment(material, TINY, lambda: perfect(material), tmp_path, progress=False)
    real = [Trial(4, name, 0, 0.5 if condition.generated else 0) for name, condition in CONDITIONS.items()]
    assert [run.distinct(trial) for trial in real] == [0, 0, 6, 6, 20], "half of the 12 of a remaining class; alone all of them"
    assert run.distinct(Trial(4, BOTH, 0, 4.0)) == 20, "no more than there are"
    learnt, looked_at = run.parts(Trial(4, REAL, 0))
    assert learnt is not None
    assert torch.bincount(learnt.labels).tolist() == [12, 12, 4]
    assert looked_at is material.test
    assert run.parts(Trial(0, ALONE, 0))[0] is None


def test_finished_trainings_are_kept(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the fifth training; the same again trains the rest, and comes to what an uninterrupted one does."""
    trained: list[Mixture] = []

    def stops(mixture: Mixture, **options: object) -> object:
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(mixture)
        return train_detector(mixture, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train_detector", stops)
    run = Experiment(material, TINY, lambda: perfect(material), tmp_path / "a", progress=False)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    files = {path: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert len(files) == 4

    def goes_on(mixture: Mixture, **options: object) -> object:
        trained.append(mixture)
        return train_detector(mixture, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train_detector", goes_on)
    again = run.run()
    assert len(trained) == trainings(TINY), "none is trained twice"
    assert all(path.read_bytes() == content for path, content in files.items())
    whole = Experiment(material, TINY, lambda: perfect(material), tmp_path / "b", progress=False).run()
    assert again == whole
    monkeypatch.setattr(module, "train_detector", None)
    never = Experiment(material, TINY, lambda: pytest.fail("nothing is generated"), tmp_path / "a", progress=False)
    assert never.run() == whole


def test_the_amount_of_the_lowest_loss_is_taken(material: Material, tmp_path: Path) -> None:
    options = Options(sizes=(4,), seeds=1, amounts=(0.5, 2.0), steps=1, batch_size=4, generated=20)
    for trial, loss in zip(choosing(4, 0, options), (0.1, 0.9, 0.4), strict=True):
        trial.file(tmp_path).write_text(json.dumps({"loss": loss, "sensitivity": 0.5}))
    results, choices = Experiment(material, options, lambda: perfect(material), tmp_path, progress=False).run()
    assert [choice.chosen for choice in choices] == [False, False, True], "no generated images at all is no amount of them"
    assert {result.trial.condition: result.trial.amount for result in results} == {
        REAL: 0, AUGMENTED: 0, GENERATED: 2.0, BOTH: 2.0, ALONE: 0
    }  # fmt: skip
    assert {result.trial.condition: result.generated for result in results}[BOTH] == 20


def textures(name: str, count: int, seed: int, *, covered: int = 2) -> torch.Tensor:
    """uint8 images (count, 1, 16, 16): `a` has none, `b` level stripes, `new` upright or other level ones (`covered`)."""
    source = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    kinds = {"a": [0 * x], "b": [y // 4 % 2], "new": [x // 2 % 2, y // 3 % 2][:covered]}[name]
    images = [kinds[source.integers(len(kinds))] - 0.5 + source.normal(0, 0.3, (16, 16)) for _ in range(count)]
    return torch.from_numpy(np.clip(127.5 * (np.stack(images)[:, None] + 1), 0, 255).astype(np.uint8))


def gains(draw: Callable[[str, int], torch.Tensor], folder: Path) -> dict[tuple[str, str], float]:
    """(condition, over) -> the change of the new class's sensitivity, with two real images of it."""
    parts = []
    for what, count, covered in (("train", 40, 1), ("test", 60, 2)):
        images = torch.cat([textures(name, count, count + index, covered=covered) for index, name in enumerate(CORNERS)])
        files = tuple(f"{what}/{number}" for number in range(3 * count))
        parts.append(Part(images, torch.arange(3).repeat_interleave(count), files, files))
    material = Material(tuple(CORNERS), 2, *parts)
    options = Options(sizes=(2,), seeds=1, amounts=(2.0,), steps=40, batch_size=24, generated=60, flip=False)
    run = Experiment(material, options, lambda: stock_of(draw, material, 60, progress=False), folder, progress=False)
    utility = summary(material, *run.run(), saw=2, state="made up", everywhere=True, copies=None)
    return {(gain.condition, gain.over): gain.figures.sensitivity[0] for gain in utility.gains}


@pytest.mark.slow
def test_good_generated_images_help_and_bad_ones_harm(tmp_path: Path) -> None:
    """Two real images show one kind of the new class: generated ones of both kinds help, and those of another class harm."""

    def good(name: str, size: int) -> torch.Tensor:
        return textures(name, size, 5000).expand(-1, 3, -1, -1)

    def swapped(name: str, size: int) -> torch.Tensor:
        other = {"a": "a", "b": "new", "new": "b"}[name]
        return textures(other, size, 6000, covered=1).expand(-1, 3, -1, -1)

    helped, harmed = gains(good, tmp_path / "good"), gains(swapped, tmp_path / "swapped")
    for over in ((BOTH, AUGMENTED), (GENERATED, REAL)):
        assert helped[over] > 0.05
        assert harmed[over] < -0.05


def test_the_summary_of_predictions_by_hand(material: Material, tmp_path: Path) -> None:
    """Rows that are written, not trained: 12 test images a class, those of the new one at the end."""
    options = Options(sizes=(12,), seeds=2, amounts=(1.0,), steps=1, batch_size=4, generated=20)
    right = [0] * 12 + [1] * 12
    named = {REAL: (6, 6), AUGMENTED: (6, 9), GENERATED: (6, 6), BOTH: (9, 12), ALONE: (0, 3)}
    for seed in range(2):
        for trial in choosing(12, seed, options):
            trial.file(tmp_path).write_text(json.dumps({"loss": 1.0 - trial.amount / 2, "sensitivity": 0.5}))
        for name, counts in named.items():
            trial = Trial(0 if name == ALONE else 12, name, seed, 1.0 if name in (GENERATED, BOTH) else 0.0)
            predicted = right + [2] * counts[seed] + [0] * (12 - counts[seed])
            trial.file(tmp_path).write_text(json.dumps({"predicted": predicted}))
    run = Experiment(material, options, lambda: pytest.fail("everything is there"), tmp_path, progress=False)
    utility = summary(material, *run.run(), saw=12, state="step 4", everywhere=True, copies=None)
    rows = {row.condition: row for row in utility.rows}
    assert [row.condition for row in utility.rows] == list(CONDITIONS)
    assert rows[BOTH].figures.sensitivity == pytest.approx((0.875, 0, 1)), "the interval ends where shares do"
    assert rows[REAL].figures.sensitivity == (0.5, 0.5, 0.5)
    assert rows[BOTH].figures.false_alarms == (0, 0, 0)
    assert rows[ALONE].real == 0
    gains = {(gain.condition, gain.over): gain.figures for gain in utility.gains}
    assert set(gains) == set(GAINS)
    assert gains[BOTH, AUGMENTED].sensitivity == (0.25, 0.25, 0.25), "paired by seed"
    assert gains[AUGMENTED, REAL].sensitivity == pytest.approx(mean_interval([0, 0.25]))
    assert [(amount.amount, amount.chosen, amount.loss[0]) for amount in utility.amounts] == [(0, 0, 1.0), (1.0, 2, 0.5)]
    assert "Student's t" in utility.interval


def test_near_copies_are_seen(made_up: Callable[..., Material], tmp_path: Path) -> None:
    made = made_up(40, 40)
    options = Options(sizes=(40,), seeds=1, amounts=(1.0,), steps=20, batch_size=32, generated=40)
    copies = Stock(made.train.images, made.train.labels, 3)
    fresh = stock_of(lambda name, size: squares(name, size, 777).expand(-1, 3, -1, -1), made, 40, progress=False)
    found = {
        name: Experiment(made, options, lambda stock=stock: stock, tmp_path / name, progress=False).copies()  # type: ignore[misc]
        for name, stock in (("copies", copies), ("fresh", fresh))
    }
    assert found["copies"]["generated"] == 1
    assert found["fresh"]["generated"] < 0.8
    assert found["fresh"]["test"] == found["copies"]["test"] < 0.8
    assert found["copies"]["images"] == 40


def test_generated_images_of_gray_data_are_gray(material: Material) -> None:
    colours = torch.tensor([30, 60, 93], dtype=torch.uint8)[None, :, None, None].expand(-1, -1, 16, 16)
    stock = stock_of(lambda name, size: colours.expand(size, -1, -1, -1), material, 250, progress=False)
    assert stock.images.shape == (750, 1, 16, 16)
    assert (stock.images == 61).all()
    assert stock.counts.tolist() == [250] * len(CORNERS)
