"""The blocks of a network and the layers in them, by module structure: what `RCAS.selection.blocks` and `--freezeD` count."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rcas_plugin.errors import RcasError
from rcas_plugin.weights.synapses import Synapse, find_synapses

#: The layers that lie in no block: before the first, behind the last, and between the label and the blocks.
REST = "rest"
#: Types whose modules are blocks by themselves; other networks keep their blocks in a list.
_BLOCK_TYPES: set[type[nn.Module]] = set()


def register_block_type(module_type: type[nn.Module]) -> None:
    """Count each module of a type as a block, in a network that does not keep its blocks in a list of modules."""
    _BLOCK_TYPES.add(module_type)


def find_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network in their order: modules of a registered type, else the entries of its first list of modules.

    In StudioGAN's residual networks an attention layer is an entry of its own, and is counted as `--freezeD` counts it.
    """
    registered = _outermost(network, tuple(_BLOCK_TYPES))
    if registered:
        return registered
    lists = _outermost(network, (nn.ModuleList,))
    return [*lists[0].children()] if lists else []


def frozen_in(discriminator: nn.Module, count: int) -> frozenset[str]:
    """The names of the parameters in the first `count` blocks of D, which `--freezeD` leaves as they are.

    Raises:
        RcasError: there are not so many blocks that one would be left.
    """
    blocks = find_blocks(discriminator)
    if count >= max(1, len(blocks)):
        raise RcasError(f"--freezeD: {count} blocks, and this discriminator has {len(blocks)}; allowed: 0 to {len(blocks) - 1}")
    inside = {id(parameter) for block in blocks[:count] for parameter in block.parameters()}
    return frozenset(name for name, parameter in discriminator.named_parameters() if id(parameter) in inside)


def synapses_in(network: nn.Module, wanted: Sequence[int | str], key: str) -> dict[str, Synapse]:
    """The selectable weights of some blocks and layers, by parameter name.

    Args:
        network: G or D.
        wanted: indices of blocks from 0, `rest`, or `BLOCK/LAYER` for one weight of a block, counted in the order of
            `named_parameters()`.
        key: of the section, for the sentence.

    Raises:
        RcasError: the network has no blocks, or not that one.
    """
    parts = _parts(network)
    if len(parts) == 1:
        raise RcasError(f"{key}: no blocks are known in a {type(network).__name__}; allowed: all")
    chosen: dict[str, Synapse] = {}
    for entry in wanted:
        block, _, layer = str(entry).partition("/")
        synapses = parts.get(block)
        if synapses is None:
            raise RcasError(
                f"{key}: {entry!r} is no block of this {type(network).__name__}; "
                f"allowed: 0 to {len(parts) - 2}, {REST}, or BLOCK/LAYER"
            )
        if layer and int(layer) >= len(synapses):
            layers = ", ".join(f"{index} ({name})" for index, name in enumerate(synapses))
            raise RcasError(f"{key}: {entry!r} is no layer of block {block}; it has: {layers or 'none'}")
        names = [*synapses][int(layer) : int(layer) + 1] if layer else synapses
        chosen |= {name: synapses[name] for name in names}
    return chosen


def _parts(network: nn.Module) -> dict[str, dict[str, Synapse]]:
    """Index of the block, or `rest` -> its weights by parameter name."""
    synapses = find_synapses(network)
    blocks = find_blocks(network)
    block_of = {id(parameter): str(index) for index, block in enumerate(blocks) for parameter in block.parameters()}
    parts: dict[str, dict[str, Synapse]] = {name: {} for name in (*map(str, range(len(blocks))), REST)}
    for name, synapse in synapses.items():
        parts[block_of.get(id(synapse.weight), REST)][name] = synapse
    return parts


def _outermost(network: nn.Module, types: tuple[type[nn.Module], ...]) -> list[nn.Module]:
    if isinstance(network, types):
        return [network]
    return [module for child in network.children() for module in _outermost(child, types)]
