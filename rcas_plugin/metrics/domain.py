"""A classifier of the user's own real data as evaluation backbone: no download, and no natural photographs in it.

Its features measure what tells these classes apart and nothing else; they say little about sharpness or texture, and distances of
one data set's classifier mean nothing beside another's. They are as good as its accuracy on held-out images, which is printed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from rcas_plugin.files import atomic_path
from rcas_plugin.metrics.classifier import Classifier, predict, train_classifier

#: The most images that are read; more of them are taken evenly spread.
LIMIT = 20_000
#: Every so many-th image is held out to measure the accuracy.
HELD_OUT = 5


@dataclass(frozen=True)
class Domain:
    """A trained classifier and what it is worth.

    Attributes:
        classifier: in evaluation mode.
        classes: names, by its outputs.
        accuracy: on the held-out images.
        held_out: how many those are.
    """

    classifier: Classifier
    classes: tuple[str, ...]
    accuracy: float
    held_out: int


def domain(
    path: Path, data: Dataset[Any], targets: Sequence[int], classes: Sequence[str], log: Callable[[str], None] = print
) -> Domain:
    """The classifier that lies at `path`, or one trained on the data now and put there.

    Args:
        path: of the safetensors file.
        data: yields (image, …); images (3, height, width), float in [-1, 1] or uint8.
        targets: the class index of every item.
        classes: names, by index.
        log: says a line to the user.
    """
    if path.is_file():
        found = _read(path)
    else:
        found = _train(data, targets, classes)
        _write(path, found)
    log(
        f"domain backbone: a classifier of {len(found.classes)} classes of these data, right on {found.accuracy:.1%} of "
        f"{found.held_out} held-out images; its distances compare runs on these data alone"
    )
    return found


def _train(data: Dataset[Any], targets: Sequence[int], classes: Sequence[str]) -> Domain:
    step = max(1, math.ceil(len(targets) / LIMIT))
    positions = list(range(0, len(targets), step))
    loader = DataLoader(Subset(data, positions), batch_size=256)
    bar = tqdm(loader, desc="domain backbone: reading real images", unit="batch", delay=2, disable=None)
    images = torch.cat([to_unit_range(batch[0]) for batch in bar])
    labels = torch.tensor([targets[position] for position in positions])
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    held_out[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[::HELD_OUT]] = True
    epochs = min(40, max(4, round(120_000 / len(labels))))
    classifier = train_classifier(images[~held_out], labels[~held_out], len(classes), epochs=epochs)
    accuracy = float((predict(classifier, images[held_out]) == labels[held_out]).float().mean())
    return Domain(classifier, tuple(classes), accuracy, int(held_out.sum()))


def to_unit_range(images: Tensor) -> Tensor:
    """Images in [-1, 1] as they are, and uint8 ones brought there."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images


def _write(path: Path, found: Domain) -> None:
    about = {"classes": list(found.classes), "accuracy": found.accuracy, "held_out": found.held_out}
    with atomic_path(path) as temporary:
        save_file(found.classifier.state_dict(), temporary, metadata={"about": json.dumps(about)})


def _read(path: Path) -> Domain:
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
    classifier = Classifier(3, len(about["classes"]))
    classifier.load_state_dict(load_file(path))
    return Domain(classifier.eval(), tuple(about["classes"]), about["accuracy"], about["held_out"])
