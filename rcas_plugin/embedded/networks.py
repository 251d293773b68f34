"""A generator and a discriminator for 32x32 images, or 16x16, named and computed as upstream's `resnet` backbone.

Conditional batch norm in G, projection and spectral norm in D: `g_cond_mtd: cBN`, `d_cond_mtd: PD`, `apply_d_sn: True`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

#: Image sizes in pixels: upstream's, and half of it, to try things in a third of the time; upstream has no resnet for that.
SIZES = (16, 32)
#: What upstream's `src/config.py` takes for keys that a config leaves out, as far as it matters here.
DEFAULTS: dict[str, dict[str, Any]] = {
    "MODEL": {"z_dim": 128, "g_conv_dim": 64, "d_conv_dim": 64},
    "OPTIMIZATION": {"batch_size": 64, "d_updates_per_step": 5},
}


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with upstream's values for the keys of `DEFAULTS` that it leaves out."""
    return {**config, **{section: {**keys, **config.get(section, {})} for section, keys in DEFAULTS.items()}}


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and bias are a column a label: `gain.weight` and `bias.weight`, (channels, labels)."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        self.gain = nn.Linear(num_classes, channels, bias=False)
        self.bias = nn.Linear(num_classes, channels, bias=False)

    def forward(self, x: Tensor, one_hot: Tensor) -> Tensor:
        normal: Tensor = self.bn(x)
        out: Tensor = normal * (1 + self.gain(one_hot))[..., None, None] + self.bias(one_hot)[..., None, None]
        return out


class GeneratorBlock(nn.Module):
    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.bn1 = ConditionalBatchNorm(num_classes, channels)
        self.bn2 = ConditionalBatchNorm(num_classes, channels)
        self.conv2d0 = nn.Conv2d(channels, channels, 1)
        self.conv2d1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2d2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, one_hot: Tensor) -> Tensor:
        h = self.conv2d1(F.interpolate(F.relu(self.bn1(x, one_hot)), scale_factor=2))
        h = self.conv2d2(F.relu(self.bn2(h, one_hot)))
        out: Tensor = h + self.conv2d0(F.interpolate(x, scale_factor=2))
        return out


class Generator(nn.Module):
    """Latents (n, z_dim) and labels (n,) to images (n, 3, size, size) in [-1, 1]; a block for each doubling, from 4."""

    def __init__(self, z_dim: int, num_classes: int, g_conv_dim: int, size: int = 32) -> None:
        super().__init__()
        channels = 4 * g_conv_dim
        self.z_dim, self.num_classes = z_dim, num_classes
        self.linear0 = nn.Linear(z_dim, channels * 4 * 4)
        self.blocks = nn.ModuleList(nn.ModuleList([GeneratorBlock(num_classes, channels)]) for _ in range(size.bit_length() - 3))
        self.bn4 = nn.BatchNorm2d(channels, eps=1e-4)
        self.conv2d5 = nn.Conv2d(channels, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, z: Tensor, label: Tensor, eval: bool = False) -> Tensor:
        one_hot = F.one_hot(label, self.num_classes).to(z.dtype)
        h = self.linear0(z).view(-1, self.bn4.num_features, 4, 4)
        for block in self.blocks:
            h = block[0](h, one_hot)  # type: ignore[index]
        return torch.tanh(self.conv2d5(F.relu(self.bn4(h))))


class DiscriminatorBlock(nn.Module):
    """A residual block of D; the `first` sees the image and pools before its shortcut, others see features and pool after it."""

    def __init__(self, before: int, after: int, *, first: bool = False, down: bool = True) -> None:
        super().__init__()
        self.first, self.down = first, down
        if down:
            self.conv2d0 = spectral_norm(nn.Conv2d(before, after, 1), eps=1e-6)
        self.conv2d1 = spectral_norm(nn.Conv2d(before, after, 3, padding=1), eps=1e-6)
        self.conv2d2 = spectral_norm(nn.Conv2d(after, after, 3, padding=1), eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        if not self.first:
            x = F.relu(x)  # upstream's activation works in place, so the shortcut starts from its result
        h = self.conv2d2(F.relu(self.conv2d1(x)))
        if not self.down:
            out: Tensor = h + x
            return out
        shortcut = self.conv2d0(F.avg_pool2d(x, 2)) if self.first else F.avg_pool2d(self.conv2d0(x), 2)
        return F.avg_pool2d(h, 2) + shortcut


class Discriminator(nn.Module):
    """Images (n, 3, size, size) and labels (n,) to StudioGAN's dictionary: `h` (n, channels), `adv_output` (n,), `label`."""

    def __init__(self, num_classes: int, d_conv_dim: int) -> None:
        super().__init__()
        channels = 2 * d_conv_dim
        blocks = [
            DiscriminatorBlock(3, channels, first=True),
            DiscriminatorBlock(channels, channels),
            DiscriminatorBlock(channels, channels, down=False),
            DiscriminatorBlock(channels, channels, down=False),
        ]
        self.blocks = nn.ModuleList(nn.ModuleList([block]) for block in blocks)
        self.linear1 = spectral_norm(nn.Linear(channels, 1), eps=1e-6)
        self.embedding = spectral_norm(nn.Embedding(num_classes, channels), eps=1e-6)

    def forward(
        self,
        x: Tensor,
        label: Tensor,
        eval: bool = False,
        adc_fake: bool = False,
    ) -> dict[str, Any]:
        for block in self.blocks:
            x = block[0](x)  # type: ignore[index]
        h = F.relu(x).sum((2, 3))
        logit = self.linear1(h).squeeze(1) + (self.embedding(label) * h).sum(1)
        return {"h": h, "adv_output": logit, "label": label}
