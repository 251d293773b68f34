"""The adversarial losses of the embedded networks, by StudioGAN's names (upstream's `src/utils/losses.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """The loss of D, of its logits (n,) for real images and for fakes, and that of G, of those for fakes."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


#: `LOSS.adv_loss` -> the losses.
LOSSES = {
    "hinge": Losses(lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(), lambda fake: -fake.mean()),
    "logistic": Losses(
        lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(), lambda fake: F.softplus(-fake).mean()
    ),
}
