"""A small classifier of the user's own real data: the judge of which class a generated image shows.

It is trained on real images alone, and its penultimate features give distances between sets of images. Its word is worth what its
accuracy on held-out real images says, and no more: it must name one of its classes, whatever it is shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from rcas_plugin.gan import seeded


class ImageClassifier(nn.Module):
    """What judges images: features of them, and a linear `head` that names a class by those."""

    head: nn.Linear

    def features(self, images: Tensor) -> Tensor:
        """(n, d) features of images (n, channels, height, width) in [-1, 1]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, num_classes)."""
        return cast(Tensor, self.head(self.features(images)))


class Classifier(ImageClassifier):
    """Three strided convolution blocks and two linear layers; any image size from 16 on.

    Args:
        channels: of the images.
        num_classes: of the real data.
        width: channels of the first block; the features are `8 * width` numbers.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 16) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width]
        blocks: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            blocks += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.embed = nn.Sequential(nn.Linear(16 * 4 * width, 8 * width), nn.ReLU())
        self.head = nn.Linear(8 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """(n, 8 * width) features of images (n, channels, height, width) in [-1, 1]."""
        return cast(Tensor, self.embed(self.body(images)))


def train_classifier(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    epochs: int = 4,
    batch_size: int = 128,
    shift: int = 2,
    seed: int = 0,
    progress: bool = True,
    architecture: Callable[[int, int], ImageClassifier] = Classifier,
    name: str = "classifier",
) -> ImageClassifier:
    """Train a classifier on real images; it is returned in evaluation mode, and torch's random state is as it was.

    Args:
        images: (n, channels, height, width) in [-1, 1].
        labels: (n,) class indices.
        num_classes: how many there are.
        epochs: passes over the images.
        batch_size: images a step.
        shift: each batch is rolled by up to so many pixels each way.
        seed: of the weights and of everything that is drawn.
        progress: show a bar where it takes over two seconds.
        architecture: called with the channels of the images and the number of classes.
        name: of the bar.
    """
    with seeded(seed, torch.device("cpu")):
        model = architecture(images.shape[1], num_classes)
        steps = epochs * (len(images) // batch_size + 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
        model.train()
        bar = tqdm(total=steps, desc=name, unit="step", delay=2, disable=None if progress else True)
        for _ in range(epochs):
            order = torch.randperm(len(images))
            for part in order.split(batch_size):
                dx, dy = (int(torch.randint(-shift, shift + 1, ())) for _ in range(2))
                batch = torch.roll(images[part], (dy, dx), dims=(2, 3))
                loss = F.cross_entropy(model(batch), labels[part])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update(1)
        bar.close()
    return model.eval()


@torch.no_grad()
def predict(model: ImageClassifier, images: Tensor, batch_size: int = 512) -> Tensor:
    """The class (n,) that the classifier names for each image."""
    return torch.cat([model(part).argmax(1) for part in images.split(batch_size)])


@torch.no_grad()
def recognised(model: ImageClassifier, images: Tensor, labels: Tensor, classes: Sequence[int]) -> dict[int, float]:
    """For each label, the part of its images that the classifier calls `classes[label]`."""
    predicted = predict(model, images)
    return {int(label): float((predicted[labels == label] == classes[int(label)]).float().mean()) for label in labels.unique()}
