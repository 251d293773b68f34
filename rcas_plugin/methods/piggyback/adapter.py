"""Filters of a task on a frozen bank: some that are its own, the others combinations of all filters that there were before.

Piggyback GAN (Zhai et al., 2020, "Piggyback GAN: Efficient lifelong learning for image conditioned generation"): the weight of a
convolution is `[u; p]` along its filters, `u` unconstrained and `p_r = sum_n M[n, r] F_n`, where the bank F holds the first
task's ordinary filters and the `u` of every task since. The published code reshapes F to (D, N) where it has to transpose it;
its `p` are then no combinations of filters. Here they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: The name in `registry.adapters`, which a checkpoint carries.
FILTERS = "piggyback"
#: Standard deviation of the published start, of `u`, `M` and of the scale of batch norms.
STD = 0.02


class Filters(nn.Module):
    """A parametrization that makes a task's weight from the frozen filters of a base, `F_1 … F_Co`, and of earlier tasks.

    Args:
        shape: of the weight: (Co, Ci, k, k) of a convolution, (Ci, Co, k, k) of a transposed one.
        count: how many of the Co filters are the task's own; with all of them there is nothing to mix.
        dim: 0 where the filters lie along the first dimension, 1 where along the second (a transposed convolution).
        earlier: the own filters of the tasks before, in order, each like the weight but for its number of filters.

    Attributes:
        new: `u`, like the weight with `count` filters.
        mix: `M`, (N, Co - count), N being Co and the number of all earlier own filters; None where `count` is Co.
        earlier: the earlier tasks' filters in one buffer, so that a checkpoint holds all that its weight is computed from; None
            without any. A task's file leaves it out (`inherited`): the files of the tasks before have it.
    """

    #: Parts of the state that earlier tasks hold already.
    inherited = ("earlier",)
    mix: nn.Parameter | None
    earlier: Tensor | None

    def __init__(self, shape: Sequence[int], count: int, dim: int = 0, earlier: Sequence[Tensor] = ()) -> None:
        super().__init__()
        filters = shape[dim]
        if not 1 <= count <= filters:
            raise ValueError(f"{count} of {filters} filters cannot be a task's own; allowed: 1 to {filters}")
        self.dim = dim
        self.new = nn.Parameter(torch.zeros(*shape[:dim], count, *shape[dim + 1 :]))
        mixes = count < filters
        self.register_buffer("earlier", torch.cat(list(earlier), dim).detach().clone() if mixes and earlier else None)
        bank = filters + (0 if self.earlier is None else self.earlier.shape[dim])
        self.register_parameter("mix", nn.Parameter(torch.zeros(bank, filters - count)) if mixes else None)

    def forward(self, weight: Tensor) -> Tensor:
        """The task's weight, of the shape of the base's, which gets no gradient."""
        if self.mix is None:
            return self.new.contiguous()
        bank = self.bank(weight).movedim(self.dim, 0)
        mixed = (self.mix.T @ bank.flatten(1)).reshape(-1, *bank.shape[1:]).movedim(0, self.dim)
        # laid out as the plain weight is, so that a layer computes with it by the same kernel, to the bit
        return torch.cat([self.new, mixed], self.dim).contiguous()

    def bank(self, weight: Tensor) -> Tensor:
        """The N filters that the task mixes, along `dim`: the base's, then each earlier task's own."""
        weight = weight.detach()
        return weight if self.earlier is None else torch.cat([weight, self.earlier], self.dim)

    @torch.no_grad()
    def start(self, weight: Tensor, init: str = "identity", source: torch.Generator | None = None) -> None:
        """Set `u` and `M` to where training starts.

        Args:
            weight: the base's.
            init: `identity`, with which the task's weight is the base's to the bit: `u` are its first filters, and M picks the
                others; or `published`: both are drawn from N(0, 0.02²).
            source: of the draws, on the CPU.
        """
        if init == "published":
            for parameter in self.parameters():
                parameter.copy_(STD * torch.randn(parameter.shape, generator=source))
            return
        count = self.new.shape[self.dim]
        self.new.copy_(weight.narrow(self.dim, 0, count))
        if self.mix is not None:
            self.mix.zero_()
            self.mix[count : weight.shape[self.dim]].copy_(torch.eye(self.mix.shape[1]))

    # what a checkpoint needs to rebuild it without the run
    def get_extra_state(self) -> dict[str, Any]:
        return {"adapter": FILTERS, "dim": self.dim}

    def set_extra_state(self, state: Any) -> None:
        self.dim = state["dim"]

    @classmethod
    def rebuild(cls, parts: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]] = ()) -> Filters:
        """The parametrization from its part of a state dict: `new`, `mix`, `earlier`, `_extra_state`.

        Args:
            parts: of a checkpoint, or of a task's file, which has no `earlier`.
            earlier: what the tasks before have for the same weight, oldest first; looked at where `parts` has no `earlier`.
        """
        new, mix, dim = parts["new"], parts.get("mix"), parts["_extra_state"]["dim"]
        shape = list(new.shape)
        shape[dim] += 0 if mix is None else mix.shape[1]
        bank = [parts["earlier"]] if "earlier" in parts else own_filters(earlier)
        rebuilt = cls(shape, new.shape[dim], dim, bank)
        with torch.no_grad():
            for name, parameter in rebuilt.named_parameters():
                parameter.copy_(parts[name])
        return rebuilt


def own_filters(earlier: Sequence[Mapping[str, Any]]) -> list[Tensor]:
    """The own filters of each earlier task for one weight; another method's adapters for it have none.

    Args:
        earlier: the adapters' parts in the tasks before, oldest first (`Task.parts`).
    """
    return [parts["new"] for parts in earlier if parts["_extra_state"]["adapter"] == FILTERS]
