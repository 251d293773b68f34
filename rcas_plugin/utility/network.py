"""The classifier that is trained: a small residual network, of another architecture than the swap's judge."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """A residual block that halves height and width (He et al., 2016)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, 2, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(before, after, 1, 2, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm2(self.second(F.relu(self.norm1(self.first(x)))))
        return F.relu(cast(Tensor, h + self.shortcut(x)))


class SmallResNet(nn.Module):
    """A strided convolution, residual blocks, the mean over the image, and one linear layer; any image size from 8 on.

    Args:
        channels: of the images.
        classes: how many are told apart.
        width: channels of the first layer; the features are `4 * width` numbers.
    """

    def __init__(self, channels: int, classes: int, width: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(Block(width, 2 * width), Block(2 * width, 4 * width))
        self.head = nn.Linear(4 * width, classes)

    def features(self, images: Tensor) -> Tensor:
        """(n, 4 * width) features of images (n, channels, height, width) in [-1, 1]."""
        return cast(Tensor, self.blocks(F.relu(self.norm(self.stem(images)))).mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes)."""
        return cast(Tensor, self.head(self.features(images)))
