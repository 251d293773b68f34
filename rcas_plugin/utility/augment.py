"""Classical augmentation: each image moved, turned, scaled, mirrored and relit by itself."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: The most that an image is moved (of its width), turned (degrees), scaled and relit (of its contrast and range of values).
SHIFT, TURN, SCALE, LIGHT = 0.1, 10.0, 0.1, 0.2


def augment(images: Tensor, source: torch.Generator, *, flip: bool) -> Tensor:
    """Images (n, channels, height, width) in [-1, 1], each changed by draws of its own; reflected at the edges.

    Args:
        images: are left as they are.
        source: draws, on the CPU.
        flip: mirror every other one from left to right; wrong for letters and digits.
    """
    count = len(images)

    def draw(most: float) -> Tensor:
        return (2 * torch.rand(count, generator=source) - 1) * most

    turn, scale = draw(math.radians(TURN)), 1 + draw(SCALE)
    mirror = torch.where(torch.rand(count, generator=source) < 0.5, -1.0, 1.0) if flip else torch.ones(count)
    cos, sin = turn.cos() * scale, turn.sin() * scale
    rows = [torch.stack([cos * mirror, -sin, draw(2 * SHIFT)], 1), torch.stack([sin * mirror, cos, draw(2 * SHIFT)], 1)]
    contrast, light = 1 + draw(LIGHT), draw(LIGHT)
    device = images.device
    grid = F.affine_grid(torch.stack(rows, 1).to(device), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return (moved * contrast.to(device)[:, None, None, None] + light.to(device)[:, None, None, None]).clamp(-1, 1)
