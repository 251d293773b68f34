"""A classifier of the user's own real data as evaluation backbone: no download, and no natural photographs in it.

Its features measure what tells these classes apart and nothing else; they say little about sharpness or texture, and distances of
one data set's classifier mean nothing beside another's. They are as good as its accuracy on held-out images, which is printed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
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
from rcas_plugin.metrics.classifier import Classifier, ImageClassifier, predict, train_classifier
from rcas_plugin.metrics.second import SecondClassifier, train_second_classifier

#: The most images that are read, and the most numbers in them (1.6 GB); of more they are taken evenly spread.
LIMIT, NUMBERS = 20_000, 400_000_000
#: Real images of a class whose features are kept.
KEPT = 1000
#: How tensors are named in its file: those of the network, and the features by class index.
NETWORK, FEATURES = "network.", "features."
#: A rare class's images are shown to the classifier at the most so many times in the place of once.
MOST_OFTEN = 20
#: Every so many-th image is held out to measure the accuracy.
HELD_OUT = 5


@dataclass(frozen=True)
class Domain:
    """A trained classifier, its accuracy on held-out images, and the features of its real images.

    Attributes:
        classifier: in evaluation mode.
        classes: names, by its outputs.
        accuracy: on the held-out images.
        held_out: how many those are.
        by_class: class -> the accuracy on its held-out images; classes without any are left out.
        features: class -> features (n, d) of up to `KEPT` of its real images.
    """

    classifier: ImageClassifier
    classes: tuple[str, ...]
    accuracy: float
    held_out: int
    by_class: Mapping[str, float]
    features: Mapping[str, Tensor]


def domain(
    path: Path,
    data: Dataset[Any],
    targets: Sequence[int],
    classes: Sequence[str],
    log: Callable[[str], None] = print,
    *,
    second: bool = False,
) -> Domain:
    """The classifier that lies at `path`, or one trained on the data now and put there.

    Args:
        path: of the safetensors file.
        data: yields (image, …); images (3, height, width), float in [-1, 1] or uint8.
        targets: the class index of every item.
        classes: names, by index.
        log: says a line to the user.
        second: the second judge (`rcas_plugin.metrics.second`) in the place of the first.
    """
    if path.is_file():
        backbone = _read(path, second)
    else:
        backbone = _train(data, targets, classes, second)
        _write(path, backbone)
    name = "second judge" if second else "domain backbone"
    log(
        f"{name}: a classifier of {len(backbone.classes)} classes of these data, right on {backbone.accuracy:.1%} of "
        f"{backbone.held_out} held-out images; its distances compare runs on these data alone"
    )
    return backbone


def _train(data: Dataset[Any], targets: Sequence[int], classes: Sequence[str], second: bool) -> Domain:
    numbers: int = data[0][0].numel()
    step = max(1, math.ceil(len(targets) / min(LIMIT, max(1, NUMBERS // numbers))))
    positions = list(range(0, len(targets), step))
    loader = DataLoader(Subset(data, positions), batch_size=256, collate_fn=_images_alone)
    bar = tqdm(loader, desc="domain backbone: reading real images", unit="batch", delay=2, disable=None)
    images = torch.cat(list(bar))
    labels = torch.tensor([targets[position] for position in positions])
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    held_out[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[::HELD_OUT]] = True
    shown = _balanced(labels, (~held_out).nonzero().flatten())
    epochs = max(4, min(120_000 // len(shown), max(20, 30_000 // len(shown)), 200))
    train: Callable[..., ImageClassifier] = train_second_classifier if second else train_classifier
    classifier = train(images[shown], labels[shown], len(classes), epochs=epochs)
    right = (predict(classifier, images[held_out]) == labels[held_out]).double()
    by_class = {
        name: float(right[labels[held_out] == index].mean())
        for index, name in enumerate(classes)
        if (labels[held_out] == index).any()
    }
    features = {}
    for index, name in enumerate(classes):
        class_images = images[labels == index]
        features[name] = features_of(classifier, class_images[:: max(1, math.ceil(len(class_images) / KEPT))])
    return Domain(classifier, tuple(classes), float(right.mean()), int(held_out.sum()), by_class, features)


def _images_alone(items: Sequence[Any]) -> Tensor:
    return torch.stack([to_unit_range(item[0]) for item in items])


def _balanced(labels: Tensor, positions: Tensor) -> Tensor:
    """The positions, those of rare classes repeated: else a class of ten images is hardly ever named."""
    counts = torch.bincount(labels[positions]).clamp(min=1)
    usual = counts.double().median()
    times = (usual / counts).round().clamp(1, MOST_OFTEN).long()
    return positions.repeat_interleave(times[labels[positions]])


@torch.no_grad()
def features_of(classifier: ImageClassifier, images: Tensor) -> Tensor:
    """Features (n, d) of images in [-1, 1]."""
    parts = [classifier.features(part) for part in images.split(256)]
    return torch.cat(parts) if parts else torch.empty(0, classifier.head.in_features)


def to_unit_range(images: Tensor) -> Tensor:
    """Images in [-1, 1] as they are, and uint8 ones brought there."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images


def _write(path: Path, backbone: Domain) -> None:
    about = {
        "classes": list(backbone.classes),
        "accuracy": backbone.accuracy,
        "held_out": backbone.held_out,
        "by_class": backbone.by_class,
    }
    with atomic_path(path) as temporary:
        tensors = {f"{NETWORK}{name}": value for name, value in backbone.classifier.state_dict().items()}
        tensors.update({f"{FEATURES}{index}": backbone.features[name] for index, name in enumerate(backbone.classes)})
        save_file(tensors, temporary, metadata={"about": json.dumps(about)})


def _read(path: Path, second: bool) -> Domain:
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
    classifier = (SecondClassifier if second else Classifier)(3, len(about["classes"]))
    tensors = load_file(path)
    network = {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}
    classifier.load_state_dict(network)
    features = {name: tensors[f"{FEATURES}{index}"] for index, name in enumerate(about["classes"])}
    figures = (about["accuracy"], about["held_out"], about["by_class"])
    return Domain(classifier.eval(), tuple(about["classes"]), *figures, features)
