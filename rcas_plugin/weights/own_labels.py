"""An adapter of weights with a row or a column a label: some labels have values of their own, the others keep the table's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: The name in `registry.adapters`, which a checkpoint carries.
OWN_LABELS = "own_labels"


class OwnLabels(nn.Module):
    """A parametrization that puts some rows or columns of a table's place: `values`, the one thing that is trained.

    The table stays as it is to the bit, whatever the optimiser does: decay of weights and moments reach `values` alone.

    Args:
        shape: of the table.
        places: the rows or columns that are replaced.
        dim: 0 for rows, 1 for columns.

    Attributes:
        values: the rows, or the columns side by side: the table's shape with `len(places)` along `dim`.
    """

    def __init__(self, shape: Sequence[int], places: Sequence[int], dim: int) -> None:
        super().__init__()
        self.places, self.dim = tuple(places), dim
        self._index = torch.tensor(self.places)  # no buffer: upstream's moving average mixes those
        sizes = list(shape)
        sizes[dim] = len(self.places)
        self.values = nn.Parameter(torch.zeros(sizes))

    def forward(self, table: Tensor) -> Tensor:
        """The table with the values in it, laid out as it is."""
        return table.index_copy(self.dim, self._places_on(table.device), self.values)

    @torch.no_grad()
    def start(self, table: Tensor) -> None:
        """Set the values to the table's own: the identity, to the bit."""
        self.values.copy_(table.index_select(self.dim, self._places_on(table.device)))

    def _places_on(self, device: torch.device) -> Tensor:
        if self._index.device != device:
            self._index = self._index.to(device)
        return self._index

    # what a checkpoint needs to rebuild it without the run
    def get_extra_state(self) -> dict[str, Any]:
        return {"adapter": OWN_LABELS, "places": list(self.places), "dim": self.dim}

    def set_extra_state(self, state: Any) -> None:
        """Nothing to do: `rebuild` has read it."""

    @classmethod
    def rebuild(cls, parts: Mapping[str, Any]) -> OwnLabels:
        """The adapter in its part of a state dict."""
        extra, values = parts["_extra_state"], parts["values"]
        made = cls(values.shape, extra["places"], extra["dim"])
        with torch.no_grad():
            made.values.copy_(values)
        return made
