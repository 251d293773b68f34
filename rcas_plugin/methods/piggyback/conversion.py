"""Turn the convolutions of any network into a bank of filters and a task on it.

`convert` puts a task on a network; `task_of`, `folded`, `write_task` and `read_task` of `rcas_plugin.checkpoints.tasks` keep it
and bring it back. docs/methods.md ("On any network") has a whole example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rcas_plugin.checkpoints.tasks import Task
from rcas_plugin.methods.piggyback.adapter import STD, Filters, own_filters
from rcas_plugin.methods.piggyback.schedule import filter_count
from rcas_plugin.weights.adapters import attach, attached, table_of
from rcas_plugin.weights.synapses import Synapse, find_convolutions

Init = Literal["identity", "published"]
#: Layers whose scale and shift a task has of its own.
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def convert(
    network: nn.Module,
    part: float | Sequence[float] = 0.25,
    *,
    earlier: Sequence[Task] = (),
    init: Init = "identity",
    output: str | None = None,
    seed: int = 0,
) -> list[nn.Parameter]:
    """Freeze a network's weights as a bank of filters and put a task on it, in place; returns the parameters that it trains.

    These are each layer's own filters and mixing weights, the convolutions' biases, and the scales and shifts of normalisation
    layers. Linear layers, embeddings and all else stay the first task's. Batch norms' running statistics are the task's too: they
    move in training, and `task_of` takes what differs from the first task.

    Args:
        network: with the first task's weights; convolutions and transposed ones of any rank, under spectral norm or not.
        part: lambda, the part of a layer's filters that is the task's own, in (0, 1]: one for all, or one a layer, in the
            order of `find_convolutions`. The output layer always has all of its own.
        earlier: the tasks before, oldest first, whose own filters are in the bank too.
        init: `identity` starts as the first task; `published` from small random numbers, as the paper does.
        output: name of the output layer's weight, as in `named_parameters()`; by default the last convolution of the network.
        seed: of the published start.

    Raises:
        ValueError: a part is not in (0, 1], there is not one a layer, `output` is no convolution's weight, or there is none.
    """
    layers = find_convolutions(network)
    counts = choose_counts(network, part, earlier=earlier, output=output)
    biases = [layer.module.bias for layer in layers.values()]
    adapters = attach_filters(network, counts, earlier)
    source = torch.Generator().manual_seed(seed)
    start(network, adapters, init, source)
    network.requires_grad_(False)
    trained = [parameter for filters in adapters.values() for parameter in filters.parameters()]
    trained += [bias for bias in biases if isinstance(bias, nn.Parameter)]
    trained += [parameter for norm in network.modules() if isinstance(norm, _NORMS) for parameter in norm.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    return trained


def choose_counts(
    network: nn.Module, part: float | Sequence[float], *, earlier: Sequence[Task] = (), output: str | None = None
) -> dict[str, int]:
    """How many filters of its own a task has in each layer, by the name of its weight.

    `ceil(part * Co)`; all of them in the output layer, and where the bank holds more filters than one has numbers: to mix those
    costs more than filters of one's own, which can be whatever the mixture can (1x1 convolutions, from the second task on the
    bank).

    Args:
        network: plain.
        part: as in `convert`.
        earlier: as in `convert`.
        output: as in `convert`.

    Raises:
        ValueError: see `convert`.
    """
    layers = find_convolutions(network)
    if not layers:
        raise ValueError("the network has no convolution to convert; a converted one has none any more: build it anew")
    parts = [part] * len(layers) if isinstance(part, float | int) else list(part)
    if len(parts) != len(layers):
        raise ValueError(f"{len(parts)} parts for {len(layers)} layers; give one for all, or one a layer")
    if not all(0 < value <= 1 for value in parts):
        raise ValueError("a part of a layer's filters is over 0 and at most 1")
    output = output if output is not None else list(layers)[-1]
    if output not in layers:
        raise ValueError(f"{output!r} is no convolution's weight; there are: {', '.join(layers)}")
    counts = {}
    for (name, layer), value in zip(layers.items(), parts, strict=True):
        filters = layer.weight.shape[filter_dim(layer)]
        bank = filters + sum(own.shape[filter_dim(layer)] for own in _earlier(name, earlier))
        all_own = name == output or bank > layer.weight.numel() // filters
        counts[name] = filters if all_own else filter_count(value, filters)
    return counts


def attach_filters(network: nn.Module, counts: Mapping[str, int], earlier: Sequence[Task] = ()) -> dict[str, Filters]:
    """Compute weights of a plain network from a bank from now on; returns the adapters, by name of the weight.

    Args:
        network: changed in place; its weights become the bank.
        counts: own filters by name of the weight.
        earlier: tasks whose own filters are in the bank too.
    """
    adapters = new_filters(network, counts, earlier)
    for name, filters in adapters.items():
        attach(network, name, network.get_parameter(name), filters)
    return adapters


def new_filters(network: nn.Module, counts: Mapping[str, int], earlier: Sequence[Task] = ()) -> dict[str, Filters]:
    """The adapters of `attach_filters`, on the CPU, not attached yet."""
    layers = find_convolutions(network)
    return {
        name: Filters(layers[name].weight.shape, count, filter_dim(layers[name]), _earlier(name, earlier))
        for name, count in counts.items()
    }


def attached_filters(network: nn.Module) -> dict[str, Filters]:
    """The adapters of a converted network, by the name that their weight has without them."""
    return {name: adapter for name, (adapter, _) in attached(network).items() if isinstance(adapter, Filters)}


@torch.no_grad()
def start(network: nn.Module, adapters: Mapping[str, Filters], init: Init, source: torch.Generator) -> None:
    """Set adapters to where training starts; the published start also sets biases and batch norms (see `convert`)."""
    for name, filters in adapters.items():
        filters.start(table_of(network, name), init, source)
    if init != "published":
        return
    for name in adapters:
        bias = network.get_submodule(name.rpartition(".")[0]).bias
        if isinstance(bias, nn.Parameter):
            bias.zero_()
    for norm in network.modules():
        if isinstance(norm, _NORMS) and isinstance(norm.weight, nn.Parameter):
            norm.weight.copy_(1 + STD * torch.randn(norm.weight.shape, generator=source))
            norm.bias.zero_()


def filter_dim(layer: Synapse) -> int:
    """The dimension of a weight along which its filters lie: 0, or 1 of a transposed convolution."""
    return 1 if layer.kind == "conv_transpose" else 0


@dataclass(frozen=True)
class Growth:
    """What a task adds, over all converted layers.

    Attributes:
        bank: filters of the base, and of earlier tasks where the task mixes them.
        filters: the task's own filters, by which the bank of the next task is larger.
        filter_parameters: numbers in these, and in the biases.
        mixing_parameters: numbers in M.
    """

    bank: int
    filters: int
    filter_parameters: int
    mixing_parameters: int


def growth(network: nn.Module) -> Growth:
    """What the task of a converted network adds to its bank."""
    adapters = attached_filters(network)
    biases = [network.get_submodule(name.rpartition(".")[0]).bias for name in adapters]
    banks = [filters.bank(table_of(network, name)).shape[filters.dim] for name, filters in adapters.items()]
    return Growth(
        bank=sum(banks),
        filters=sum(filters.new.shape[filters.dim] for filters in adapters.values()),
        filter_parameters=sum(filters.new.numel() for filters in adapters.values())
        + sum(bias.numel() for bias in biases if isinstance(bias, Tensor)),
        mixing_parameters=sum(filters.mix.numel() for filters in adapters.values() if filters.mix is not None),
    )


def _earlier(name: str, tasks: Sequence[Task]) -> list[Tensor]:
    return own_filters([task.parts(name) for task in tasks if name in task.adapters])
