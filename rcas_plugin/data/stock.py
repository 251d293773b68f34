"""Images of several classes in memory as bytes, drawn class by class."""

from __future__ import annotations

import torch
from torch import Tensor


class Stock:
    """Images of several classes, of which a batch is drawn with each class as often as any other.

    An image of a class of few is repeated, then: that is the balance.

    Args:
        images: uint8 (n, channels, height, width).
        labels: the class (n,) of each.
        classes: how many there are.
    """

    def __init__(self, images: Tensor, labels: Tensor, classes: int) -> None:
        self.images = images[labels.argsort(stable=True)]
        self.counts = torch.bincount(labels, minlength=classes)
        self._starts = self.counts.cumsum(0) - self.counts

    def draw(self, labels: Tensor, source: torch.Generator) -> Tensor:
        """An image (n, channels, height, width) in [-1, 1] of each of some classes (n,)."""
        within = (torch.rand(len(labels), generator=source) * self.counts[labels]).long()
        return as_floats(self.images[self._starts[labels] + within])

    def of(self, label: int) -> Tensor:
        """The images of one class."""
        start = int(self._starts[label])
        return self.images[start : start + int(self.counts[label])]

    def first(self, most: int) -> Stock:
        """The same with at most so many of each class."""
        label = torch.repeat_interleave(torch.arange(len(self.counts)), self.counts)
        place = torch.arange(len(label)) - self._starts[label]
        return Stock(self.images[place < most], label[place < most], len(self.counts))


def as_floats(images: Tensor) -> Tensor:
    """uint8 images in [-1, 1]."""
    return images.float() / 127.5 - 1


def as_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8 on the CPU; what lies beyond is clamped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).byte().cpu()
