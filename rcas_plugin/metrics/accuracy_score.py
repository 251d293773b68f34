"""The classification accuracy score (CAS): how well a classifier does on images of the other kind than it was trained on.

Trained on generated images and tested on real ones (GAN-train) it falls with what G leaves out; trained on real images and tested
on generated ones (GAN-test) with what G gets wrong (Shmelkov et al., "How good is my GAN?", 2018; Ravuri & Vinyals, 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18
from tqdm.auto import tqdm

#: Batches of images (n, 3, height, width) in [-1, 1] with their labels (n,), anew at each call.
Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
#: Up to this size of images in pixels ResNet-18 starts with a 3x3 convolution, as usual for CIFAR.
_SMALL = 64


@dataclass(frozen=True)
class Training:
    """The training of the classifier: SGD with Nesterov momentum, the rate down to 0 along half a cosine.

    Attributes:
        epochs: passes over the training batches.
        lr: the rate at the start.
        momentum: of SGD.
        weight_decay: of SGD.
    """

    epochs: int = 90
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def rate(self, epoch: int) -> float:
        """The learning rate in an epoch, from 0."""
        return self.lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))


@dataclass(frozen=True)
class AccuracyScore:
    """The result of a test, in percent.

    Attributes:
        top1: test images whose label the classifier names first.
        top5: whose label is among the first five; of all labels where there are fewer.
        labels: label -> top1 of its images alone.
        images: how many were tested.
        epochs: that the classifier was trained for.
    """

    top1: float
    top5: float
    labels: Mapping[int, float] = field(default_factory=dict)
    images: int = 0
    epochs: int = 0

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "labels": {str(label): share for label, share in self.labels.items()}}


def make_classifier(num_classes: int, img_size: int) -> nn.Module:
    """torchvision's ResNet-18, newly drawn: images (n, 3, img_size, img_size) to logits (n, num_classes)."""
    model: nn.Module = resnet18(num_classes=num_classes)
    if img_size <= _SMALL:
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        model.maxpool = nn.Identity()
    return model


def train_classifier(
    model: nn.Module,
    batches: Batches,
    training: Training,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    start: int = 0,
    after_epoch: Callable[[int], None] = lambda epoch: None,
    progress: bool = True,
) -> nn.Module:
    """Train a classifier in place, from an epoch on; it is returned in evaluation mode.

    Args:
        model: images to logits; it stays on its device, to which the images are brought.
        batches: of the training images, asked for once an epoch. One of a single image is left out: batch norm needs two.
        training: rate and length.
        optimizer: of a training that goes on; by default a new one, from `make_optimizer`.
        start: the epoch to go on with, from 0.
        after_epoch: called with the number of epochs done.
        progress: show a bar of batches.
    """
    optimizer = optimizer or make_optimizer(model, training)
    device = next(model.parameters()).device
    model.train()
    with tqdm(desc="classifier", unit="batch", delay=2, disable=None if progress else True) as bar:
        for epoch in range(start, training.epochs):
            for group in optimizer.param_groups:
                group["lr"] = training.rate(epoch)
            for images, labels in batches():
                if len(images) < 2:
                    continue
                loss = F.cross_entropy(model(images.to(device)), labels.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                bar.update()
                bar.set_postfix(epoch=f"{epoch + 1}/{training.epochs}", refresh=False)
            after_epoch(epoch + 1)
    return model.eval()


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The optimiser of a classifier's training."""
    return torch.optim.SGD(
        model.parameters(), lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay, nesterov=True
    )


@torch.no_grad()
def score_classifier(model: nn.Module, batches: Batches, epochs: int = 0) -> AccuracyScore:
    """Test a classifier in evaluation mode on every image of the batches; `epochs` is only noted."""
    model.eval()
    device = next(model.parameters()).device
    right: dict[int, int] = {}
    shown: dict[int, int] = {}
    among = 0
    for images, labels in batches():
        logits = model(images.to(device)).cpu()
        order = logits.topk(min(5, logits.shape[1]), dim=1).indices
        among += int((order == labels.cpu()[:, None]).sum())
        for label, first in zip(labels.tolist(), order[:, 0].tolist(), strict=True):
            shown[label] = shown.get(label, 0) + 1
            right[label] = right.get(label, 0) + (first == label)
    total = sum(shown.values())
    return AccuracyScore(
        top1=100 * sum(right.values()) / max(1, total),
        top5=100 * among / max(1, total),
        labels={label: 100 * right[label] / shown[label] for label in sorted(shown)},
        images=total,
        epochs=epochs,
    )
