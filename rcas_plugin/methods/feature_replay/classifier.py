"""The classifier whose hidden features a discriminator judges: a ResNet for small images (torchvision's blocks), and its file.

With its defaults it is the ResNet-18 of Genifer (stem of 3x3, no max-pooling); fewer and narrower blocks do for small data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.metrics.classifier import ImageClassifier


class FeatureClassifier(ImageClassifier):
    """Four stages of residual blocks, the mean over the image, and a linear head; images of 16 pixels and more.

    Args:
        channels: of the images.
        num_classes: how many are told apart.
        width: channels of the first stage; each next one has twice as many at half the size.
        depth: blocks of a stage.
    """

    def __init__(self, channels: int, num_classes: int, *, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.channels, self.width, self.depth = channels, width, depth
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        stages, before = [], width
        for stage in range(4):
            after = width << stage
            stages.append(nn.Sequential(_first_block(before, after), *(BasicBlock(after, after) for _ in range(depth - 1))))
            before = after
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(before, num_classes)

    def hidden(self, images: Tensor) -> Tensor:
        """What D judges: the third stage's output (n, 4 * width, height / 4, width / 4) of images (n, channels, h, w)."""
        h = self.stem(images)
        for stage in self.stages[:3]:
            h = stage(h)
        return cast(Tensor, h)

    def after_hidden(self, hidden: Tensor) -> Tensor:
        """Logits (n, num_classes) of what `hidden` gave."""
        return cast(Tensor, self.head(self.stages[3](hidden).mean((2, 3))))

    def features(self, images: Tensor) -> Tensor:
        """(n, 8 * width) features of images (n, channels, height, width) in [-1, 1]."""
        return cast(Tensor, self.stages[3](self.hidden(images)).mean((2, 3)))


def _first_block(before: int, after: int) -> BasicBlock:
    """The block that a stage begins with: it halves the size wherever it has more channels than what comes in."""
    if before == after:
        return BasicBlock(before, after)
    shortcut = nn.Sequential(nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after))
    return BasicBlock(before, after, 2, shortcut)


@dataclass(frozen=True)
class ClassifierFile:
    """A classifier as it was read: in evaluation mode, on the CPU, with the names of its classes in order."""

    classifier: FeatureClassifier
    classes: tuple[str, ...]


def save_classifier(path: Path, classifier: FeatureClassifier, classes: Sequence[str]) -> None:
    """Write a classifier into a safetensors file, with the names of its classes."""
    about = {"classes": list(classes), "channels": classifier.channels, "width": classifier.width, "depth": classifier.depth}
    tensors = {name: value.detach().cpu().contiguous() for name, value in classifier.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"classifier": json.dumps(about)})


def load_classifier(path: Path, key: str) -> ClassifierFile:
    """Read a classifier's file; raises `RcasError` with the key that names it where it is none, or cut short."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["classifier"])
        classes = tuple(str(name) for name in about["classes"])
        classifier = FeatureClassifier(about["channels"], len(classes), width=about["width"], depth=about["depth"])
        classifier.load_state_dict(load_file(path))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
        raise RcasError(f"{key}: {path} holds no classifier; give the classifier.safetensors of rcas classify") from None
    return ClassifierFile(classifier.eval(), classes)
