"""A small U-Net and a judge of pairs, in the manner of Pix2Pix (Isola et al., 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UNet(nn.Module):
    """Images (n, 1, size, size) to images of that shape in [-1, 1]: strided convolutions down to 2x2, transposed ones back up.

    Args:
        size: pixels a side, a power of two.
        width: channels of the first layer; each further one has twice as many, up to four times.
    """

    def __init__(self, size: int = 16, width: int = 16) -> None:
        super().__init__()
        levels = size.bit_length() - 2
        widths = [width * min(2**level, 4) for level in range(levels)]
        before = [1, *widths[:-1]]
        self.down = nn.ModuleList(nn.Conv2d(*pair, 4, 2, 1) for pair in zip(before, widths, strict=True))
        self.down_norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in widths[1:])
        # from the second on each sees what came up, and what went down at that size
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[level] * (1 if level == levels - 1 else 2), before[level], 4, 2, 1)
            for level in reversed(range(levels))
        )
        self.up_norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in reversed(before[1:]))

    def forward(self, images: Tensor) -> Tensor:
        """The translated images."""
        h, went_down = images, []
        for level, layer in enumerate(self.down):
            h = layer(F.leaky_relu(h, 0.2) if level else h)
            h = self.down_norms[level - 1](h) if level else h
            went_down.append(h)
        for level, layer in enumerate(self.up):
            h = layer(F.relu(torch.cat([h, went_down[-1 - level]], 1) if level else h))
            h = self.up_norms[level](h) if level < len(self.up_norms) else h
        return torch.tanh(h)


class PairJudge(nn.Module):
    """Logits (n, 1, height, width), a patch each, of whether an image is the real one to an input.

    Args:
        width: channels of the first layer.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, 1, 1),
        )  # fmt: skip

    def forward(self, inputs: Tensor, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(torch.cat([inputs, images], 1))
        return logits


def initialise(network: nn.Module) -> None:
    """Pix2Pix's start: weights from N(0, 0.02²), batch norms' scales from N(1, 0.02²), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0, 0.02)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
