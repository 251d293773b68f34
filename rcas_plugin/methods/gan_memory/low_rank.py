"""A style in fewer numbers: gains and means as sums of products of two vectors, those of earlier tasks used again.

The compression of "GAN Memory with No Forgetting" (Cong et al., 2020): seen as matrices (rows, columns), `gamma` and `beta` are
`U diag(a) V^T`, where the first columns of `U` and `V` are the earlier tasks' and the last ones the task's own. The published
code trains `a` together with a full rest, under a penalty on its singular values. Here a task is trained as ever and taken
apart then: `a` of the earlier factors by least squares, the rest by its singular values, as many as keep a part of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rcas_plugin.methods.gan_memory.adapter import Style, moments

#: The name in `registry.adapters`, which a checkpoint carries.
LOW_RANK = "gan_memory_low_rank"


def energy_of(rows: int) -> float:
    """The part that is kept of a style of this many rows, as published: all of a narrow one."""
    return next((part for least, part in ((1024, 0.8), (512, 0.9), (256, 0.95)) if rows >= least), 1.0)


@dataclass(frozen=True)
class Factors:
    """`u diag(a) v^T`, whose first columns are those of earlier tasks.

    Attributes:
        u: (rows, q), the new columns.
        v: (columns, q), likewise.
        a: (earlier columns + q,).
    """

    u: Tensor
    v: Tensor
    a: Tensor


@torch.no_grad()
def factored(matrix: Tensor, energy: float, u: Tensor, v: Tensor) -> Factors:
    """Take a matrix apart, with the columns that there are.

    `a` of the columns that there are is the least-squares fit. Of what is left the largest singular values are kept: as few as
    keep `energy` of the sum of the absolute values of `a` and of all singular values; none where `a` is enough.

    Args:
        matrix: (rows, columns).
        energy: over 0, to 1.
        u: (rows, n), the earlier tasks' columns.
        v: (columns, n), likewise.
    """
    target, before = matrix.double(), u.new_zeros(0).double()
    if u.shape[1]:
        one, other = u.double(), v.double()
        inner = (one.T @ one) * (other.T @ other)  # of the products, each seen as a vector
        along = ((one.T @ target) * other.T).sum(1)
        before = torch.linalg.lstsq(inner, along[:, None], driver="gelsd").solution[:, 0]
        target = target - (one * before) @ other.T
    left, values, right = torch.linalg.svd(target, full_matrices=False)
    kept = kept_count(before, values, energy)
    columns = (left[:, :kept].to(matrix).contiguous(), right[:kept].T.to(matrix).contiguous())
    return Factors(*columns, torch.cat([before, values[:kept]]).to(matrix))


def kept_count(before: Tensor, values: Tensor, energy: float) -> int:
    """The smallest q for which `(A + sum of the first q values) / (A + sum of all)` reaches `energy`; A: the sum of |before|."""
    whole = before.abs().sum() + values.sum()
    if not whole > 0:
        return 0
    parts = (before.abs().sum() + torch.cat([values.new_zeros(1), values.cumsum(0)])) / whole
    return int((parts < energy).sum().clamp(max=len(values))) if energy < 1 else len(values)


class LowRankStyle(nn.Module):
    """A `Style` of a convolution whose gains and means are `U diag(a) V^T`.

    Args:
        gamma: the task's own factors of the gains.
        beta: of the means.
        before: `gamma_u`, `gamma_v`, `beta_u`, `beta_v` -> the columns of the tasks before.
    """

    #: Parts of its state dict that the tasks before hold; a task's file leaves them out.
    inherited = ("gamma_u_before", "gamma_v_before", "beta_u_before", "beta_v_before")

    def __init__(self, gamma: Factors, beta: Factors, before: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, factors in (("gamma", gamma), ("beta", beta)):
            for part in ("u", "v", "a"):
                setattr(self, f"{name}_{part}", nn.Parameter(getattr(factors, part)))
            for part in ("u", "v"):
                self.register_buffer(f"{name}_{part}_before", before[f"{name}_{part}"].detach().clone())

    def matrix(self, name: str) -> Tensor:
        """`gamma` or `beta` as a matrix (rows, columns)."""
        u, v = (torch.cat([getattr(self, f"{name}_{part}_before"), getattr(self, f"{name}_{part}")], 1) for part in ("u", "v"))
        product: Tensor = (u * getattr(self, f"{name}_a")) @ v.T
        return product

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with this style, of the same shape."""
        mean, std = moments(weight)
        gamma, beta = (self.matrix(name).view(mean.shape) for name in ("gamma", "beta"))
        return gamma * ((weight - mean) / std) + beta

    # what a checkpoint needs to rebuild it without the run
    def get_extra_state(self) -> dict[str, Any]:
        return {"adapter": LOW_RANK}

    def set_extra_state(self, state: Any) -> None:
        """Nothing to do: the style has no more than its tensors."""

    @classmethod
    def rebuild(cls, parts: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]] = ()) -> LowRankStyle:
        """The style in its part of a state dict, or of a task, which lacks the columns of the tasks before."""
        gamma, beta = (Factors(*(parts[f"{name}_{part}"] for part in ("u", "v", "a"))) for name in ("gamma", "beta"))
        if cls.inherited[0] in parts:
            return cls(gamma, beta, {name.removesuffix("_before"): parts[name] for name in cls.inherited})
        before = columns_of(earlier, gamma, beta)
        return cls(gamma, beta, {key: value[:, : _earlier(parts, key)] for key, value in before.items()})

    @classmethod
    def of(cls, style: Style, energy: float, earlier: Sequence[Mapping[str, Any]]) -> LowRankStyle:
        """A style of a convolution in factors.

        Args:
            style: whose gains and means are (rows, columns, 1, 1).
            energy: the part of each that is kept, over 0, to 1.
            earlier: the parts of the same weight in the tasks before, oldest first.
        """
        matrices = {name: getattr(style, name).detach()[:, :, 0, 0] for name in ("gamma", "beta")}
        empty = {name: Factors(matrix[:, :0], matrix[:0].T, matrix[0, :0]) for name, matrix in matrices.items()}
        before = columns_of(earlier, empty["gamma"], empty["beta"])
        gamma, beta = (factored(matrices[name], energy, before[f"{name}_u"], before[f"{name}_v"]) for name in ("gamma", "beta"))
        return cls(gamma, beta, before)


def columns_of(earlier: Sequence[Mapping[str, Any]], gamma: Factors, beta: Factors) -> dict[str, Tensor]:
    """`gamma_u`, `gamma_v`, `beta_u`, `beta_v` -> the columns of those tasks that are in factors, side by side, oldest first."""
    parts = [task for task in earlier if "gamma_u" in task]
    like = {"gamma_u": gamma.u, "gamma_v": gamma.v, "beta_u": beta.u, "beta_v": beta.v}
    return {key: torch.cat([tensor[:, :0], *(task[key].to(tensor) for task in parts)], 1) for key, tensor in like.items()}


def _earlier(parts: Mapping[str, Any], key: str) -> int:
    """How many columns of the tasks before a style uses: as many as its `a` has entries that are not of its own columns."""
    name = key.partition("_")[0]
    return len(parts[f"{name}_a"]) - int(parts[f"{name}_u"].shape[1])
