"""The style of a weight: mean and spread of each kernel replaced by learned ones (mAdaFM and mFiLM of GAN Memory).

From "GAN Memory with No Forgetting" (Cong et al., 2020): `W' = gamma * (W - mean) / std + beta`, with the mean and the unbiased
standard deviation over the pixels of each kernel of a convolution, or over the inputs of each row of a linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

#: The name in `registry.adapters`, which a checkpoint carries.
STYLE = "gan_memory"
#: The least standard deviation that is divided by: that of a kernel whose pixels are all alike is 0.
LEAST = 1e-8


def moments(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased standard deviation of each kernel, ready to be broadcast: (a, b, 1, 1) for a convolution's weight
    (a, b, height, width), transposed or not, and (rows, 1) for a linear layer's (rows, inputs)."""
    dims = tuple(range(2, weight.ndim)) if weight.ndim > 2 else (1,)
    return weight.mean(dims, keepdim=True), weight.std(dims, keepdim=True).clamp_min(LEAST)


class Style(nn.Module):
    """A parametrization that gives each kernel of a frozen weight a mean and a spread of its own.

    Args:
        shape: of `gamma` and `beta`, as of `moments`.

    Attributes:
        gamma: the spreads.
        beta: the means.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    @classmethod
    def of(cls, weight: Tensor) -> Style:
        """The style of a weight of this shape, without values."""
        return cls(tuple(moments(weight.detach())[0].shape))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with this style, of the same shape."""
        mean, std = moments(weight)
        return self.gamma * ((weight - mean) / std) + self.beta

    @torch.no_grad()
    def start(self, weight: Tensor) -> None:
        """Set the style to the weight's own: the identity up to rounding."""
        mean, std = moments(weight)
        self.gamma.copy_(std)
        self.beta.copy_(mean)

    # what a checkpoint needs to rebuild it without the run
    def get_extra_state(self) -> dict[str, Any]:
        return {"adapter": STYLE}

    def set_extra_state(self, state: Any) -> None:
        """Nothing to do: the style has no more than its tensors."""

    @classmethod
    def rebuild(cls, parts: Mapping[str, Any]) -> Style:
        """The style in its part of a state dict: `gamma`, `beta`."""
        style = cls(tuple(parts["gamma"].shape))
        with torch.no_grad():
            style.gamma.copy_(parts["gamma"])
            style.beta.copy_(parts["beta"])
        return style
