"""Knowledge propagation across classes: new labels' rows as combinations of the pre-trained ones.

`row_n = sum_c scores[n, c] row_c + residual_n` for every weight that has a row (or column) a label: the gain and the bias of
each conditional batch norm, a shared embedding, the discriminator's embedding. From cGANTransfer (Shahbazi et al., 2021), as a
`torch.nn.utils.parametrize` parametrization: the layer stays upstream's own and reads its weight as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from rcas_plugin.weights.adapters import attach, attached
from rcas_plugin.weights.synapses import SpectralNorm, spectral_norm_of

#: The name in `registry.adapters`, which a checkpoint carries.
ADAPTER = "bn_propagation"


class Propagation(nn.Module):
    """A parametrization that makes a table of `len(order)` labels from one of `rows` labels.

    StudioGAN's gain is 1 + what is stored; the combination runs over what is stored, so that a label without scores and
    residual has the neutral gain 1 and bias 0. What the table has before and behind the labels' rows (InfoGAN's codes go into the
    same layer) is passed through, and gets no gradient: it stays as it was pre-trained.

    Args:
        rows: labels of the table, K before.
        width: size of one label's row.
        order: for each label afterwards the row that it keeps, or `rows + n` where it is the n-th new one.
        dim: 0 where the table has a row a label, 1 where it has a column.
        offset: rows or columns of the table in front of label 0's.

    Attributes:
        scores: similarity scores, (new labels, rows); 1 / rows at first.
        residual: (new labels, width); 0 at first.
    """

    def __init__(self, rows: int, width: int, order: Sequence[int], dim: int, offset: int = 0) -> None:
        super().__init__()
        new = sum(index >= rows for index in order)
        self.rows, self.order, self.dim, self.offset = rows, tuple(order), dim, offset
        self._index = torch.tensor(self.order)  # no buffer: upstream's moving average mixes those
        self.scores = nn.Parameter(torch.full((new, rows), 1 / rows))
        self.residual = nn.Parameter(torch.zeros(new, width))

    def forward(self, table: Tensor) -> Tensor:
        """The table of the labels afterwards, in the layout of the one given."""
        moved = table.movedim(self.dim, 0)
        before, labels, behind = moved.split([self.offset, self.rows, len(moved) - self.offset - self.rows])
        rows = labels.reshape(self.rows, -1)
        every = torch.cat([rows, self.scores @ rows + self.residual])
        if self._index.device != table.device:
            self._index = self._index.to(table.device)
        chosen = every[self._index].reshape(-1, *moved.shape[1:])
        # laid out as the plain weight is, so that a layer computes with it by the same kernel, to the bit
        return torch.cat([before.detach(), chosen, behind.detach()]).movedim(0, self.dim).contiguous()

    @property
    def new(self) -> list[int]:
        """The rows or columns of what `forward` returns that belong to new labels."""
        return [self.offset + label for label, index in enumerate(self.order) if index >= self.rows]

    @torch.no_grad()
    def carried(self, entries: Tensor) -> Tensor:
        """A vector of an entry a row (column) of the table, rearranged to the rows that `forward` returns; 0 for new labels."""
        before, labels, behind = entries.split([self.offset, self.rows, len(entries) - self.offset - self.rows])
        chosen = [labels[index] if index < self.rows else labels.new_zeros(()) for index in self.order]
        return torch.cat([before, torch.stack(chosen), behind])

    # what a checkpoint needs to rebuild it without the run
    def get_extra_state(self) -> dict[str, Any]:
        return {"adapter": ADAPTER, "order": list(self.order), "dim": self.dim, "offset": self.offset}

    def set_extra_state(self, state: Any) -> None:
        self.order, self.dim = tuple(state["order"]), state["dim"]
        self.offset = state.get("offset", 0)  # checkpoints of 0.1 have none
        self._index = torch.tensor(self.order)

    @classmethod
    def rebuild(cls, parts: Mapping[str, Any]) -> Propagation:
        """The parametrization from its part of a state dict: `scores`, `residual`, `_extra_state`."""
        extra = parts["_extra_state"]
        propagation = cls(
            parts["scores"].shape[1], parts["residual"].shape[1], extra["order"], extra["dim"], extra.get("offset", 0)
        )
        propagation.load_state_dict(dict(parts))
        return propagation


def propagate(
    network: nn.Module,
    name: str,
    table: Tensor,
    order: Sequence[int],
    dim: int,
    *,
    labels: tuple[int, int] | None = None,
    norm: SpectralNorm | None = None,
) -> Propagation:
    """Compute a weight of the network from a pre-trained table from now on.

    Args:
        network: changed in place.
        name: of the trained tensor (`….weight`, `….weight_orig` under spectral norm).
        table: the pre-trained tensor; its labels may be more or fewer than the network's.
        order: see `Propagation`.
        dim: see `Propagation`.
        labels: (offset, number) of the labels' rows or columns in the table; by default all of them.
        norm: of the pre-trained layer, where it is under spectral norm. Its value is kept to the bit whatever the new labels'
            rows become, so that the labels that stay are divided by what they were; None: the layer's vectors are made anew.
    """
    offset, rows = labels if labels is not None else (0, table.shape[dim])
    propagation = Propagation(rows, table.numel() // table.shape[dim], order, dim, offset)
    attach(network, name, table, propagation)
    set_norm(network, name, table, norm)
    return propagation


def set_norm(network: nn.Module, name: str, table: Tensor, norm: SpectralNorm | None) -> None:
    """Hold the spectral norm on a propagated weight at the pre-trained layer's, or (None) make its vectors anew.

    Args:
        network: changed in place.
        name: of the weight.
        table: the pre-trained tensor.
        norm: of the pre-trained layer.
    """
    if norm is None:
        refresh_norm(network, name)
    else:
        _hold_norm(network.get_submodule(name.rpartition(".")[0]), table, propagations(network)[name], norm)


def norm_on(network: nn.Module, name: str) -> SpectralNorm | None:
    """The spectral norm on this very tensor, or None: a bias beside a weight under it has none."""
    path, _, tensor = name.rpartition(".")
    return spectral_norm_of(network.get_submodule(path)) if tensor == "weight_orig" else None


@torch.no_grad()
def _hold_norm(layer: nn.Module, table: Tensor, propagation: Propagation, before: SpectralNorm) -> None:
    norm, weight = spectral_norm_of(layer), cast(Tensor, layer.weight_orig)
    assert norm is not None
    before = SpectralNorm(before.u.to(weight), before.v.to(weight), before.dim)  # kernels differ between devices
    norm.along(propagation.dim).copy_(propagation.carried(before.along(propagation.dim)))
    norm.along(1 - propagation.dim).copy_(before.along(1 - propagation.dim))
    norm.hold(weight, before.sigma(table.to(weight)), propagation.dim, propagation.new)


def norm_in_state(network: nn.Module, name: str, state: Mapping[str, Tensor]) -> SpectralNorm | None:
    """The spectral norm of a weight as a state dict has it, or None where the network has none on it."""
    path, norm = name.rpartition(".")[0], norm_on(network, name)
    return None if norm is None else SpectralNorm(state[f"{path}.weight_u"], state[f"{path}.weight_v"], norm.dim)


@torch.no_grad()
def refresh_norms(network: nn.Module) -> None:
    """Make spectral norm's vectors anew where no label of a propagated weight stays, after its new rows have their start."""
    for name, propagation in propagations(network).items():
        if len(propagation.new) == len(propagation.order):
            refresh_norm(network, name)


@torch.no_grad()
def refresh_norm(network: nn.Module, name: str) -> None:
    """Bring the vectors of the spectral norm on a tensor, where there is one, up to date with the labels that it has now."""
    norm = norm_on(network, name)
    if norm is not None:
        norm.refresh(cast(Tensor, network.get_submodule(name.rpartition(".")[0]).weight_orig))


def propagations(network: nn.Module) -> dict[str, Propagation]:
    """The network's propagated weights: name of the weight -> parametrization."""
    return {name: adapter for name, (adapter, _) in attached(network).items() if isinstance(adapter, Propagation)}


@dataclass(frozen=True)
class NormLimit:
    """The limit of a new label's row in a propagated weight under spectral norm; `nearest` is `SpectralNorm.limit`'s function."""

    layer: nn.Module
    made: Propagation
    label: int
    nearest: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def keep(self, row: int) -> None:
        """Change the residual of the new label's `row` so that what it makes is within the norm."""
        weight = cast(Tensor, self.layer.weight_orig)
        now = weight.select(self.made.dim, self.made.offset + self.label)
        self.made.residual[row] += self.nearest(now) - now


@torch.no_grad()
def norm_limits(network: nn.Module, label: int) -> list[NormLimit]:
    """The limits of a label's rows and columns in the propagated weights that are under spectral norm."""
    limits = []
    for name, propagation in propagations(network).items():
        layer, norm = network.get_submodule(name.rpartition(".")[0]), norm_on(network, name)
        if norm is not None:
            nearest = norm.limit(cast(Tensor, layer.weight_orig), propagation.dim, propagation.offset + label)
            limits.append(NormLimit(layer, propagation, label, nearest))
    return limits


@dataclass(frozen=True)
class PropagatedParameters:
    """The parameters of one network that propagation has put there or taken over."""

    scores: tuple[nn.Parameter, ...]
    residuals: tuple[nn.Parameter, ...]
    tables: tuple[nn.Parameter, ...]

    @classmethod
    def of(cls, network: nn.Module) -> PropagatedParameters:
        by_name = propagations(network)
        return cls(
            tuple(propagation.scores for propagation in by_name.values()),
            tuple(propagation.residual for propagation in by_name.values()),
            tuple(attached(network)[name].table for name in by_name),
        )

    @property
    def every(self) -> tuple[nn.Parameter, ...]:
        """Scores, residuals and tables."""
        return (*self.scores, *self.residuals, *self.tables)

    @property
    def fixed_in_ft(self) -> tuple[nn.Parameter, ...]:
        """The parameters that stage ft does not train: scores and tables."""
        return (*self.scores, *self.tables)
