"""Re-initialisation: what is put in the place of the selected weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from rcas_plugin.errors import RcasError
from rcas_plugin.selection import Selection
from rcas_plugin.synapses import Synapse, find_synapses, spectral_norm_of

Value = Literal["zero"]


@torch.no_grad()
def reinitialize(model: nn.Module | Sequence[nn.Module], selection: Selection, value: Value = "zero") -> int:
    """Put `value` in the place of the selected weights, in place.

    Under spectral norm the trained tensor (`weight_orig`) is edited, and the singular vectors are brought up to date: stale
    ones would scale what is left of the weight wrongly for many steps.

    Args:
        model: G, D or G's moving average, or several of them; each is matched to its role by the names and shapes of
            its weights.
        selection: from `select_synapses`.
        value: `zero`.

    Returns:
        The number of weights that were re-initialised.

    Raises:
        RcasError: an unknown value, or a model that the selection was not made for.
    """
    if value != "zero":
        raise RcasError(f"reinitialize: value {value!r} is unknown; allowed: zero")
    models = [model] if isinstance(model, nn.Module) else list(model)
    edits = [(find_synapses(one), _masks_of(one, selection)) for one in models]  # all are checked before one is edited
    count = 0
    for synapses, masks in edits:
        for name, mask in masks.items():
            synapse = synapses[name]
            synapse.weight.masked_fill_(mask.to(synapse.weight.device), 0)
            norm = spectral_norm_of(synapse.module)
            if norm is not None and mask.any():
                norm.refresh(synapse.weight)
            count += int(mask.sum())
    return count


def _masks_of(model: nn.Module, selection: Selection) -> Mapping[str, Tensor]:
    synapses = find_synapses(model)
    fitting = [masks for masks in selection.masks.values() if masks and _fits(synapses, masks)]
    if len(fitting) != 1:
        raise RcasError(
            f"reinitialize: the selection was not made for this {type(model).__name__}; "
            "pass the networks that synapse_importance saw, or copies of them"
        )
    return fitting[0]


def _fits(synapses: Mapping[str, Synapse], masks: Mapping[str, Tensor]) -> bool:
    return all(name in synapses and synapses[name].weight.shape == mask.shape for name, mask in masks.items())
