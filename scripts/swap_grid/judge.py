"""The judges of a swap: classifiers of the real images, and what they say of generated ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rcas_plugin.files import atomic_path
from rcas_plugin.gan import gaussian_latents, sample_images
from rcas_plugin.metrics.classifier import Classifier, ImageClassifier, predict, train_classifier
from rcas_plugin.metrics.distances import frechet_distance, kernel_distance
from rcas_plugin.metrics.second import SecondClassifier, train_second_classifier
from rcas_plugin.weights.accelerate import autocast
from swap_grid.data import Data

#: Of the latents of the grid's networks.
Z_DIM = 64
#: The user's kind of judge, and one of another architecture and seed that nothing is chosen by.
KINDS: dict[str, tuple[Callable[..., ImageClassifier], Callable[..., ImageClassifier]]] = {
    "first": (Classifier, train_classifier),
    "second": (SecondClassifier, train_second_classifier),
}


@dataclass(frozen=True)
class Judge:
    """A classifier of the real images: which class an image shows, and the features that distances are taken in."""

    classifier: ImageClassifier
    accuracy: float
    real: dict[int, Tensor]

    @classmethod
    def of(cls, out: Path, which: str, dataset: str, data: Data, epochs: int) -> Judge:
        """The `first` judge or the `second`, trained now or before on the real training images; judged on the test images."""
        kind, train = KINDS[which]
        path = out / "judge" / f"{dataset}-{data.images.shape[-1]}-{which}.pth"
        if path.is_file():
            classifier = kind(data.images.shape[1], len(data.names))
            classifier.load_state_dict(torch.load(path, weights_only=True))
            classifier.eval()
        else:
            classifier = train(data.images, data.classes, len(data.names), epochs=epochs)
            with atomic_path(path) as temporary:
                torch.save(classifier.state_dict(), temporary)
        accuracy = float((predict(classifier, data.test_images) == data.test_classes).float().mean())
        real = {index: features(classifier, data.images[data.classes == index][:2000]) for index in range(len(data.names))}
        return cls(classifier, accuracy, real)

    @torch.no_grad()
    def of_real(self, data: Data, name: str) -> dict[str, Any]:
        """What it says of a class's real test images: their distance to the training ones, and the share called each class."""
        index = data.names.index(name)
        seen = features(self.classifier, data.test_images[data.test_classes == index])
        shown = self.classifier.head(seen).argmax(1)
        shares = {other: float((shown == place).float().mean()) for place, other in enumerate(data.names)}
        return {"distance": frechet_distance(self.real[index], seen), "called": shares}


@torch.no_grad()
def features(classifier: ImageClassifier, images: Tensor) -> Tensor:
    return torch.cat([classifier.features(part) for part in images.split(500)])


@dataclass(frozen=True)
class Swap:
    """Slots and their new classes on one pre-trained GAN.

    Attributes:
        data: the real images.
        judge: of the user's kind, whose figures are looked at while a run goes on.
        slots: classes of the slots.
        new: their new classes, in the same order.
        second: a judge of another architecture and seed; None where there is none.
    """

    data: Data
    judge: Judge
    slots: tuple[str, ...]
    new: tuple[str, ...]
    second: Judge | None = None

    @property
    def names(self) -> list[str]:
        """The class of each label before the swap."""
        return [name for name in self.data.names if name not in self.new]

    def measure(self, generator: nn.Module, *, slot_images: int = 1000, images: int = 0) -> dict[str, float]:
        """Of the slots, on average: distances to the new class, and which class is seen. Of the remaining labels likewise.

        Args:
            generator: G.
            slot_images: of all slots together.
            images: of each remaining label; 0 leaves them out.
        """
        slots = [self.names.index(slot) for slot in self.slots]
        rest = [label for label in range(len(self.names)) if label not in slots]
        each = slot_images // len(slots)
        labels = torch.tensor([label for label in slots for _ in range(each)] + rest * images)
        with autocast(torch.device("cpu")):
            fakes = sample_images(generator, labels, gaussian_latents(Z_DIM), seed=1, batch_size=64)
        fakes = fakes.mean(1, keepdim=True) if self.data.images.shape[1] == 1 else fakes
        measured = self._figures(self.judge, fakes, labels)
        if self.second is not None:
            measured |= {f"second {figure}": value for figure, value in self._figures(self.second, fakes, labels).items()}
        return measured

    def _figures(self, judge: Judge, fakes: Tensor, labels: Tensor) -> dict[str, float]:
        index, slots = self.data.names.index, [self.names.index(slot) for slot in self.slots]
        seen = features(judge.classifier, fakes)
        with torch.no_grad():
            shown = judge.classifier.head(seen).argmax(1)
        figures: dict[str, list[float]] = {}
        for label, slot, new in zip(slots, self.slots, self.new, strict=True):
            of_slot, real = labels == label, judge.real[index(new)]
            for figure, value in (
                ("distance", frechet_distance(real, seen[of_slot])),
                ("kernel_distance", kernel_distance(real, seen[of_slot])),
                ("new", float((shown[of_slot] == index(new)).float().mean())),
                ("old", float((shown[of_slot] == index(slot)).float().mean())),
            ):
                figures.setdefault(figure, []).append(value)
        measured = {figure: sum(values) / len(values) for figure, values in figures.items()}
        kept = ~torch.isin(labels, torch.tensor(slots))
        if kept.any():
            wanted = torch.tensor([index(name) for name in self.names])[labels]
            measured["remaining"] = float((shown == wanted)[kept].float().mean())
            real = torch.cat([judge.real[index(self.names[label])] for label in sorted(set(labels[kept].tolist()))])
            measured["remaining_distance"] = frechet_distance(real, seen[kept])
        return measured
