"""Knowledge propagation across classes: new labels' rows as combinations of the pre-trained ones.

`row_n = sum_c scores[n, c] row_c + residual_n` for every weight that has a row (or column) a label: the gain and the bias of
each conditional batch norm, a shared embedding, the discriminator's embedding. From cGANTransfer (Shahbazi et al., 2021), as a
`torch.nn.utils.parametrize` parametrization: the layer stays upstream's own and reads its weight as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rcas_plugin.fold import attach
from rcas_plugin.synapses import spectral_norm_of

#: The name in `registry.adapters`, which a checkpoint carries.
ADAPTER = "bn_propagation"


class Propagation(nn.Module):
    """Turns a table of `rows` labels into one of `len(order)` labels.

    StudioGAN's gain is 1 + what is stored; the combination runs over what is stored, so that a label without scores and
    residual has the neutral gain 1 and bias 0.

    Args:
        rows: labels of the table, K before.
        width: size of one label's row.
        order: for each label afterwards the row that it keeps, or `rows + n` where it is the n-th new one.
        dim: 0 where the table has a row a label, 1 where it has a column.

    Attributes:
        scores: similarity scores, (new labels, rows); 1 / rows at first.
        residual: (new labels, width); 0 at first.
    """

    def __init__(self, rows: int, width: int, order: Sequence[int], dim: int) -> None:
        super().__init__()
        new = sum(index >= rows for index in order)
        self.rows, self.order, self.dim = rows, tuple(order), dim
        self._index = torch.tensor(self.order)  # no buffer: upstream's moving average mixes those
        self.scores = nn.Parameter(torch.full((new, rows), 1 / rows))
        self.residual = nn.Parameter(torch.zeros(new, width))

    def forward(self, table: Tensor) -> Tensor:
        """The table of the labels afterwards, in the layout of the one given."""
        moved = table.movedim(self.dim, 0)
        rows = moved.reshape(self.rows, -1)
        every = torch.cat([rows, self.scores @ rows + self.residual])
        if self._index.device != table.device:
            self._index = self._index.to(table.device)
        return every[self._index].reshape(-1, *moved.shape[1:]).movedim(0, self.dim)

    # what a checkpoint needs to rebuild it without the run
    def get_extra_state(self) -> dict[str, Any]:
        return {"adapter": ADAPTER, "order": list(self.order), "dim": self.dim}

    def set_extra_state(self, state: Any) -> None:
        self.order, self.dim = tuple(state["order"]), state["dim"]
        self._index = torch.tensor(self.order)

    @classmethod
    def rebuild(cls, parts: Mapping[str, Any]) -> Propagation:
        """The parametrization from its part of a state dict: `scores`, `residual`, `_extra_state`."""
        extra = parts["_extra_state"]
        made = cls(parts["scores"].shape[1], parts["residual"].shape[1], extra["order"], extra["dim"])
        made.load_state_dict(dict(parts))
        return made


def propagate(network: nn.Module, name: str, table: Tensor, order: Sequence[int], dim: int) -> Propagation:
    """Compute a weight of the network from a pre-trained table from now on.

    Args:
        network: changed in place.
        name: of the trained tensor (`….weight`, `….weight_orig` under spectral norm).
        table: the pre-trained tensor; its labels may be more or fewer than the network's.
        order: see `Propagation`.
        dim: see `Propagation`.
    """
    rows = table.shape[dim]
    made = Propagation(rows, table.numel() // rows, order, dim)
    attach(network, name, table, made)
    refresh_norm(network.get_submodule(name.rpartition(".")[0]))
    return made


@torch.no_grad()
def refresh_norm(layer: nn.Module) -> None:
    """Bring spectral norm's vectors up to date with the layer's weight, of the labels that it has now."""
    norm = spectral_norm_of(layer)
    if norm is not None:
        norm.refresh(cast(Tensor, layer.weight_orig))


def propagations(network: nn.Module) -> dict[str, Propagation]:
    """The network's propagated weights: name of the weight -> parametrization."""
    return {
        f"{path}.{tensor}": parts[0]
        for path, layer in network.named_modules()
        if parametrize.is_parametrized(layer)
        for tensor, parts in cast("Mapping[str, Any]", layer.parametrizations).items()
        if isinstance(parts[0], Propagation)
    }


def table_of(network: nn.Module, name: str) -> nn.Parameter:
    """The pre-trained table behind a propagated weight."""
    path, _, tensor = name.rpartition(".")
    return cast(nn.Parameter, cast(Any, network.get_submodule(path)).parametrizations[tensor].original)
