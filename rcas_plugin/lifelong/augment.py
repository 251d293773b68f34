"""The augmentation of Genifer's classifier: each image moved by a few pixels, and every other one mirrored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shift_and_flip(images: Tensor, source: torch.Generator, *, shift: int, flip: bool) -> Tensor:
    """Images (n, channels, height, width), each cut out of itself with a black border, at a place of its own.

    The published code draws one place and one side for a whole batch; here each image has its own.

    Args:
        images: in [-1, 1]; left as they are.
        source: draws, on the CPU.
        shift: pixels, at the most, each way.
        flip: mirror every other image from left to right.
    """
    count, channels, height, width = images.shape
    down, across = torch.randint(2 * shift + 1, (2, count), generator=source)
    rows, columns = down[:, None] + torch.arange(height), across[:, None] + torch.arange(width)
    if flip:
        mirrored = torch.rand(count, generator=source) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = F.pad(images, (shift, shift, shift, shift), value=-1.0)
    image, channel = torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
