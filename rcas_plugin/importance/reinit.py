"""Re-initialisation: new values in the place of the selected weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from rcas_plugin.errors import RcasError
from rcas_plugin.gan import seeded
from rcas_plugin.importance.selection import Selection
from rcas_plugin.weights.synapses import Synapse, find_synapses, spectral_norm_of

#: `zero`; `init`, newly drawn by the layer's own initialiser; `damp`, the weight times the selection's factor.
Value = Literal["zero", "init", "damp"]


@torch.no_grad()
def reinitialize(model: nn.Module | Sequence[nn.Module], selection: Selection, value: Value = "zero", *, seed: int = 0) -> int:
    """Put `value` in the place of the selected weights, in place.

    Under spectral norm the trained tensor (`weight_orig`) is edited, and the singular vectors are brought up to date: stale
    ones would scale what is left of the weight wrongly for many steps.

    Args:
        model: G, D or G's moving average, or several of them; each is matched to its role by the names and shapes of
            its weights.
        selection: from `select_synapses`.
        value: `zero`; `init`, drawn by the layer's own `reset_parameters`, the same for G and its moving average; `damp`, the
            weight times the factor that a selection by the rule `damping` holds.
        seed: of what `init` draws.

    Returns:
        The number of weights that were re-initialised.

    Raises:
        RcasError: an unknown value, `damp` without factors, or a model that the selection was not made for.
    """
    if value not in get_args(Value):
        raise RcasError(f"reinitialize: value {value!r} is unknown; allowed: {', '.join(get_args(Value))}")
    if value == "damp" and not selection.factors:
        raise RcasError("reinitialize: value 'damp' needs factors; select with against=… and rule='damping'")
    models = [model] if isinstance(model, nn.Module) else list(model)
    # all are checked before one is edited
    edits = [(find_synapses(network), *_of_model(network, selection)) for network in models]
    count = 0
    for synapses, role, masks in edits:
        for index, (name, mask) in enumerate(masks.items()):
            synapse = synapses[name]
            if not mask.any():
                continue
            weight, where = synapse.weight, mask.to(synapse.weight.device)
            if value == "zero":
                weight.masked_fill_(where, 0)
            elif value == "damp":
                factor = selection.factors.get(role, {}).get(name)
                if factor is None:
                    raise RcasError(f"reinitialize: the selection has no factor for {name}; select with rule='damping'")
                weight.copy_(torch.where(where, weight * factor.to(weight), weight))
            else:
                weight.copy_(torch.where(where, newly_drawn(synapse.module, seed + index).to(weight), weight))
            norm = spectral_norm_of(synapse.module)
            if norm is not None:
                norm.refresh(weight)
            count += int(mask.sum())
    return count


def newly_drawn(module: nn.Module, seed: int) -> Tensor:
    """A new value of the layer's weight, drawn on the CPU by the layer's own `reset_parameters`.

    Raises:
        RcasError: the layer has none.
    """
    if not hasattr(module, "reset_parameters"):
        raise RcasError(f"reinitialize: {type(module).__name__} has no initialiser of its own (reset_parameters); use zero")
    fresh = copy.copy(module)  # with tensors of its own: the layer itself is not touched
    shape = cast(Tensor, module.weight_orig if hasattr(module, "weight_orig") else module.weight).shape
    fresh.__dict__ = {
        **module.__dict__,
        "_buffers": {},
        "_parameters": {"weight": nn.Parameter(torch.empty(shape)), "bias": None},
    }
    fresh.__dict__.pop("weight", None)  # spectral norm leaves the normalised weight there
    with seeded(seed, torch.device("cpu")):
        cast(Any, fresh).reset_parameters()
    return fresh._parameters["weight"].detach()  # type: ignore[union-attr]


def _of_model(model: nn.Module, selection: Selection) -> tuple[str, Mapping[str, Tensor]]:
    synapses = find_synapses(model)
    fitting = [(role, masks) for role, masks in selection.masks.items() if masks and _fits(synapses, masks)]
    if len(fitting) != 1:
        raise RcasError(
            f"reinitialize: the selection was not made for this {type(model).__name__}; "
            "pass the networks that synapse_importance saw, or copies of them"
        )
    return fitting[0]


def _fits(synapses: Mapping[str, Synapse], masks: Mapping[str, Tensor]) -> bool:
    return all(name in synapses and synapses[name].weight.shape == mask.shape for name, mask in masks.items())
