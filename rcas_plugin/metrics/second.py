"""A second judge, which nothing was chosen by: another architecture and another seed than `rcas_plugin.metrics.classifier` has.

A method may match features of D, and is tuned by the figures of the first classifier. A ranking that holds under this one too is
no habit of either. It is residual where the first is plain, and its features are averages over the whole image where those of the
first know a grid of 4x4 places: they say what is in an image, and less of where.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, nn

from rcas_plugin.metrics.classifier import ImageClassifier, train_classifier

#: Its seed, which is not that of the first classifier.
SEED = 20_231


class SecondClassifier(ImageClassifier):
    """A residual network: a strided stem and two strided blocks; any image size from 16 on.

    Args:
        channels: of the images.
        num_classes: of the real data.
        width: channels of the stem; the features are `4 * width` numbers.
    """

    def __init__(self, channels: int, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 4, 2, 1)
        self.body = nn.Sequential(_Residual(width, 2 * width), _Residual(2 * width, 4 * width))
        self.last = nn.Sequential(nn.BatchNorm2d(4 * width), nn.ReLU())
        self.head = nn.Linear(4 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """(n, 4 * width) features of images (n, channels, height, width) in [-1, 1]."""
        return cast(Tensor, self.last(self.body(self.stem(images))).mean((2, 3)))


class _Residual(nn.Module):
    """Two convolutions, each after its norm (He et al., 2016, "Identity Mappings"), beside a shortcut; half as high and wide."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, after, 3, 2, 1, bias=False),
            nn.BatchNorm2d(after), nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1, bias=False),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(before, after, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.shortcut(images) + self.branch(images))


#: `train_classifier` for this network and seed.
train_second_classifier: Callable[..., ImageClassifier] = partial(
    train_classifier, architecture=SecondClassifier, seed=SEED, name="second judge"
)
