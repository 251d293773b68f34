"""The comparison itself: one file a training, so that an interrupted one goes on; then the figures of all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from rcas_plugin.data.stock import Stock
from rcas_plugin.files import write_json
from rcas_plugin.metrics.neighbours import nearest_real
from rcas_plugin.report.utility import ALONE, AUGMENTED
from rcas_plugin.utility.material import Material, Part
from rcas_plugin.utility.photographs import held_out
from rcas_plugin.utility.training import Mixture, balanced_loss, features_of, logits_of, train_detector
from rcas_plugin.utility.trials import CONDITIONS, Options, Trial, choosing, trainings

COPIES = "copies.json"


@dataclass(frozen=True)
class Result:
    """One row of one seed.

    Attributes:
        trial: what was trained.
        predicted: the class that it named for each test image.
        generated: how many generated images a class had.
    """

    trial: Trial
    predicted: list[int]
    generated: int


@dataclass(frozen=True)
class Choice:
    """One amount on the held-out part: its loss, the new class's sensitivity, and whether it was chosen."""

    trial: Trial
    loss: float
    sensitivity: float
    generated: int
    chosen: bool


@dataclass
class Experiment:
    """All trainings of a comparison.

    Attributes:
        material: the real images.
        options: what is compared.
        generated: makes the generated images of all classes, where they are needed.
        folder: of the trainings' files; for these options, images and generator alone.
        progress: show a bar.
        first_seed: the seeds count from here.
        alone: real images that the generator saw, where each size has one of its own; the row of generated images alone is
            then at that size.
    """

    material: Material
    options: Options
    generated: Callable[[], Stock]
    folder: Path
    progress: bool = True
    first_seed: int = 0
    alone: int = 0
    _fakes: Stock | None = None

    def run(self) -> tuple[list[Result], list[Choice]]:
        """Every training that has no file yet, then the results of all, seeds outermost."""
        results: list[Result] = []
        choices: list[Choice] = []
        with tqdm(total=trainings(self.options), desc="utility", unit="training", disable=None if self.progress else True) as bar:
            for seed in range(self.first_seed, self.first_seed + self.options.seeds):
                for real in self.options.sizes:
                    tried = self._choose(real, seed, bar)
                    choices += tried
                    amount = next(choice.trial.amount for choice in tried if choice.chosen)
                    for name, condition in CONDITIONS.items():
                        if condition.real:
                            trial = Trial(real, name, seed, amount if condition.generated else 0.0)
                            results.append(self._result(trial, bar))
                results.append(self._result(Trial(self.alone, ALONE, seed), bar))
        return results, choices

    def parts(self, trial: Trial) -> tuple[Part | None, Part]:
        """The real images that a training is shown (None without any), and those that it is judged on."""
        if not CONDITIONS[trial.condition].real:
            return None, self.material.test
        train = self.material.with_new(trial.real, trial.seed)
        if not trial.held_out:
            return train, self.material.test
        kept_back: set[int] = set()
        for label in range(len(self.material.classes)):
            positions = train.positions(label)
            chosen = held_out([train.photographs[position] for position in positions], trial.seed)
            kept_back |= {positions[index] for index in chosen}
        everything = range(len(train.files))
        return train.at([p for p in everything if p not in kept_back]), train.at(sorted(kept_back))

    def distinct(self, trial: Trial) -> int:
        """How many generated images of a class a training is shown."""
        if not CONDITIONS[trial.condition].generated or not (trial.amount or trial.condition == ALONE):
            return 0
        if trial.condition == ALONE:
            return self.options.generated
        return max(1, min(self.options.generated, round(trial.amount * self.material.usual)))

    def copies(self) -> dict[str, Any]:
        """How near the new class's generated images, and its test images, are to its training images.

        In the features of a classifier of all real images, which is of no row.
        """
        path = self.folder / COPIES
        if path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        material, new = self.material, self.material.new
        real = material.train.images[material.train.positions(new)]
        fakes = self.fakes.of(new)
        model = train_detector(self._mixture(Trial(material.of_new, AUGMENTED, self.options.seeds), material.train),
                               steps=self.options.steps, batch_size=self.options.batch_size, flip=self.options.flip)  # fmt: skip
        features = features_of(model, real)
        authentic = {
            "generated": nearest_real(features, features_of(model, fakes)).authentic,
            "test": nearest_real(features, features_of(model, material.test.images[material.test.positions(new)])).authentic,
        }
        near = {which: None if share is None else 1 - share for which, share in authentic.items()}
        write_json(path, {**near, "images": len(fakes)})
        return {**near, "images": len(fakes)}

    @property
    def fakes(self) -> Stock:
        """The generated images; made when first asked for."""
        if self._fakes is None:
            self._fakes = self.generated()
        return self._fakes

    def _choose(self, real: int, seed: int, bar: Any) -> list[Choice]:
        """Each amount on the held-out part; the one of the lowest loss is chosen, of those with generated images."""
        found = [(trial, self._outcome(trial, bar)) for trial in choosing(real, seed, self.options)]
        best = min((outcome["loss"], trial.amount) for trial, outcome in found if trial.amount)[1]
        return [
            Choice(trial, outcome["loss"], outcome["sensitivity"], self.distinct(trial), trial.amount == best)
            for trial, outcome in found
        ]

    def _result(self, trial: Trial, bar: Any) -> Result:
        return Result(trial, self._outcome(trial, bar)["predicted"], self.distinct(trial))

    def _outcome(self, trial: Trial, bar: Any) -> dict[str, Any]:
        path = trial.file(self.folder)
        if path.is_file():
            outcome = dict(json.loads(path.read_text(encoding="utf-8")))
        else:
            bar.set_postfix_str(f"{trial.condition}, {trial.real or 'no'} real, seed {trial.seed}")
            outcome = self._train(trial)
            write_json(path, outcome)
        bar.update(1)
        return outcome

    def _train(self, trial: Trial) -> dict[str, Any]:
        shown, judged = self.parts(trial)
        options, new = self.options, self.material.new
        model = train_detector(
            self._mixture(trial, shown), steps=options.steps, batch_size=options.batch_size, seed=trial.seed, flip=options.flip
        )
        logits = logits_of(model, judged.images)
        predicted = logits.argmax(1)
        if not trial.held_out:
            return {"predicted": predicted.tolist()}
        sensitivity = float((predicted[judged.labels == new] == new).double().mean())
        return {"loss": balanced_loss(logits, judged.labels, new), "sensitivity": sensitivity}

    def _mixture(self, trial: Trial, shown: Part | None) -> Mixture:
        condition, classes = CONDITIONS[trial.condition], len(self.material.classes)
        distinct = self.distinct(trial)
        return Mixture(
            None if shown is None else Stock(shown.images, shown.labels, classes),
            self.fakes.first(distinct) if distinct else None,
            trial.amount,
            self.options.everywhere,
            self.material.new,
            condition.augmented,
        )


def stock_of(
    draw: Callable[[str, int], torch.Tensor], material: Material, count: int, *, progress: bool = True, part: int = 100
) -> Stock:
    """`count` generated images of each class, from (class, count) -> uint8 images; gray where the real ones are.

    Args:
        draw: (class, count) -> uint8 images (count, 3, size, size), others at each call.
        material: the real images.
        count: of a class.
        progress: show a bar.
        part: images that are drawn at once.
    """
    images: list[torch.Tensor] = []

    def parts() -> Iterator[tuple[str, int]]:
        for name in material.classes:
            for start in range(0, count, part):
                yield name, min(part, count - start)

    total = len(material.classes) * count
    with tqdm(total=total, desc="generating images", unit="image", disable=None if progress else True) as bar:
        for name, size in parts():
            drawn = draw(name, size)
            images.append(drawn.float().mean(1, keepdim=True).round().to(torch.uint8) if material.gray else drawn)
            bar.update(size)
    labels = torch.arange(len(material.classes)).repeat_interleave(count)
    return Stock(torch.cat(images), labels, len(material.classes))
