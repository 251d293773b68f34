"""Adapters around weights: found, attached, rebuilt, and folded into plain weights, in a network or a checkpoint's state dict."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rcas_plugin.gan import Gan
from rcas_plugin.registry import adapters

_BETWEEN, _TABLE, _FIRST = ".parametrizations.", ".original", ".0."
#: The submodule of a network that holds what a method adds to it; folding takes it away.
ADDED = "rcas"


def fold_network(network: nn.Module) -> None:
    """Replace every parametrized weight by its value, in place; copies of the network stay as they are."""
    for layer in list(network.modules()):
        if parametrize.is_parametrized(layer):
            # torch makes a class for each parametrized layer, a deep copy shares it, and its weight is deleted from the class
            attributes = {name: value for name, value in vars(type(layer)).items() if name not in ("__dict__", "__weakref__")}
            layer.__class__ = type(type(layer).__name__, type(layer).__bases__, attributes)
            for tensor in list(layer.parametrizations):  # type: ignore[arg-type]  # a ModuleDict
                parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)


def adapted(state: Mapping[str, Any]) -> dict[str, str]:
    """The weights of a state dict that a method's adapter computes: name of the weight -> name of the adapter."""
    names = {}
    for key in state:
        path, between, rest = key.partition(_BETWEEN)
        if between and rest.endswith(_TABLE):
            tensor = rest.removesuffix(_TABLE)
            names[f"{path}.{tensor}"] = state[f"{path}{_BETWEEN}{tensor}{_FIRST}_extra_state"]["adapter"]
    return names


def is_plain(state: Mapping[str, Any]) -> bool:
    """Whether a state dict is one of a network that no method has put anything around or into."""
    return not adapted(state) and not any(is_added(key) for key in state)


def parts_of(state: Mapping[str, Any], name: str) -> tuple[Tensor, dict[str, Any]]:
    """The tensor that an adapted weight is computed from, and the adapter's part of the state dict."""
    path, _, tensor = name.rpartition(".")
    start = f"{path}{_BETWEEN}{tensor}"
    inner = start + _FIRST
    parts = {key.removeprefix(inner): value for key, value in state.items() if key.startswith(inner)}
    return state[start + _TABLE], parts


def with_adapter(state: Mapping[str, Any], name: str, adapter: nn.Module) -> dict[str, Any]:
    """A state dict with another adapter around an adapted weight; the table stays."""
    path, _, tensor = name.rpartition(".")
    inner = f"{path}{_BETWEEN}{tensor}{_FIRST}"
    others = {key: value for key, value in state.items() if not key.startswith(inner)}
    return {**others, **{inner + key: value for key, value in adapter.state_dict().items()}}


def attach(network: nn.Module, name: str, table: Tensor, adapter: nn.Module) -> None:
    """Compute a weight of the network from a table by an adapter from now on; on the device and in the type that it had."""
    path, _, tensor = name.rpartition(".")
    layer, old = network.get_submodule(path), network.get_parameter(name)
    setattr(layer, tensor, nn.Parameter(table.detach().clone().to(old.device, old.dtype)))
    parametrize.register_parametrization(layer, tensor, adapter.to(old.device, old.dtype), unsafe=True)


def rebuilt(adapter: str, parts: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]] = ()) -> nn.Module:
    """An adapter made from its part of a state dict.

    Args:
        adapter: its name in `registry.adapters`.
        parts: its part of the state dict.
        earlier: the parts that adapted the same weight in the swaps before, oldest first, for an adapter that builds on those.
    """
    rebuild = adapters[adapter].rebuild
    knows_earlier = "earlier" in inspect.signature(rebuild).parameters
    return cast(nn.Module, rebuild(parts, earlier=earlier) if knows_earlier else rebuild(parts))


def rebuild_adapters(gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the adapters of a checkpoint into newly built networks, which it can then be loaded into.

    Args:
        gan: the networks.
        states: `generator`, `discriminator`, `ema` -> state dict; those without adapters leave their network as it is.
    """
    for network_name, network in gan.networks.items():
        for name, adapter in adapted(states[network_name]).items():
            table, parts = parts_of(states[network_name], name)
            attach(network, name, table, rebuilt(adapter, parts))


@torch.no_grad()
def fold_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict with every adapted weight folded into a plain one, without what was added; of a plain one, a copy."""
    names = adapted(state)
    plain = {key: value for key, value in state.items() if _BETWEEN not in key and not is_added(key)}
    for name, adapter in names.items():
        table, parts = parts_of(state, name)
        plain[name] = computed(table, rebuilt(adapter, parts))
    return plain


def computed(table: Tensor, adapter: nn.Module) -> Tensor:
    """The plain weight that an adapter makes of a table, in the table's type."""
    return cast(Tensor, adapter.to(table.device, table.dtype)(table)).contiguous()


def is_added(key: str) -> bool:
    """Whether a tensor of a state dict belongs to what a method has added to the network."""
    return key.startswith(f"{ADDED}.")


def plain_name(key: str) -> str | None:
    """The name that a plain network has for a tensor of a state dict; None for a part of an adapter, and what was added."""
    if is_added(key):
        return None
    path, between, rest = key.partition(_BETWEEN)
    if not between:
        return key
    return f"{path}.{rest.removesuffix(_TABLE)}" if rest.endswith(_TABLE) else None


@torch.no_grad()
def load_plain(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Copy a plain state dict into a network with or without adapters: an adapter's table gets the plain weight.

    By copying, tensor for tensor: torch's own way does not know that `weight` of a layer is computed now. A tensor of another
    shape, such as a table of other labels, is left as it is.
    """
    for key, value in network.state_dict(keep_vars=True).items():
        name = plain_name(key)
        if name is not None and name in state and isinstance(value, Tensor) and state[name].shape == value.shape:
            value.copy_(state[name])


class Attached(NamedTuple):
    """An adapter, and the table that it computes a weight from."""

    adapter: nn.Module
    table: nn.Parameter


def attached(network: nn.Module) -> dict[str, Attached]:
    """The adapters of a network, by the name that their weight has without them."""
    return {
        f"{path}.{tensor}".lstrip("."): Attached(adapters_of_tensor[0], adapters_of_tensor.original)
        for path, layer in network.named_modules()
        if parametrize.is_parametrized(layer)
        for tensor, adapters_of_tensor in cast("Mapping[str, Any]", layer.parametrizations).items()
    }


def table_of(network: nn.Module, name: str) -> nn.Parameter:
    """The table that an adapted weight is computed from."""
    return attached(network)[name].table


def adapter_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters of the network's adapters, which a plain network does not have."""
    return [parameter for adapter, _ in attached(network).values() for parameter in adapter.parameters()]


def added_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that a plain network does not have: of adapters, and of what a method has added."""
    added = getattr(network, ADDED, None)
    return [*adapter_parameters(network), *(added.parameters() if isinstance(added, nn.Module) else ())]
