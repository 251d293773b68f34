"""Blocks and layers by module structure, on the embedded networks and on small ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch import nn

from rcas_plugin import RcasError
from rcas_plugin.weights import blocks
from rcas_plugin.weights.blocks import find_blocks, frozen_in, register_block_type, synapses_in


class Block(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.inner = nn.ModuleList(layers)


@pytest.fixture
def block_type() -> Iterator[type[Block]]:
    register_block_type(Block)
    yield Block
    blocks._BLOCK_TYPES.remove(Block)


def test_the_entries_of_a_list_are_blocks_whatever_their_names(pair: Any) -> None:
    generator, discriminator = pair
    assert find_blocks(generator) == [*generator.blocks]
    assert find_blocks(discriminator) == [*discriminator.blocks]
    assert find_blocks(nn.Sequential(nn.Linear(1, 1))) == []


@pytest.mark.usefixtures("block_type")
def test_modules_of_a_registered_type_are_blocks_and_what_is_in_them_is_none() -> None:
    outer = Block(Block(nn.Linear(1, 1)), nn.Linear(1, 1))
    other = Block(nn.Linear(1, 1))
    assert find_blocks(nn.Sequential(nn.Linear(1, 1), outer, nn.ModuleList([other]))) == [outer, other]


def test_blocks_layers_and_the_rest_make_up_the_network(pair: Any) -> None:
    generator, _ = pair
    everything = synapses_in(generator, [0, 1, 2, "rest"], "key")
    assert set(everything) == {name for name, module in generator.named_parameters() if module.dim() > 1}
    rest = synapses_in(generator, ["rest"], "key")
    assert set(rest) == {"linear0.weight", "conv2d5.weight"}
    block = [*synapses_in(generator, [1], "key")]
    assert block == [name for name in everything if name.startswith("blocks.1.")]
    assert [*synapses_in(generator, ["1/0", "1/2", 2], "key")] == [block[0], block[2], *synapses_in(generator, [2], "key")]
    assert [*synapses_in(generator, ["rest/1"], "key")] == ["conv2d5.weight"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ([3], r"^KEY: 3 is no block of this Generator; allowed: 0 to 2, rest, or BLOCK/LAYER$"),
        (["0/7"], r"^KEY: '0/7' is no layer of block 0; it has: 0 \(blocks\.0\.0\.bn1\.gain\.weight\), 1 "),
    ],
)
def test_what_is_not_there_is_refused(wanted: list[int | str], sentence: str, pair: Any) -> None:
    with pytest.raises(RcasError, match=sentence):
        synapses_in(pair[0], wanted, "KEY")


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(RcasError, match=r"^KEY: no blocks are known in a Sequential; allowed: all$"):
        synapses_in(nn.Sequential(nn.Linear(1, 1)), [0], "KEY")


def test_frozen_is_all_that_the_first_blocks_hold(pair: Any) -> None:
    _, discriminator = pair
    names = {name for name, _ in discriminator.named_parameters()}
    assert frozen_in(discriminator, 2) == {name for name in names if name.startswith(("blocks.0.", "blocks.1."))}
    with pytest.raises(RcasError, match=r"^--freezeD: 4 blocks, and this discriminator has 4; allowed: 0 to 3$"):
        frozen_in(discriminator, 4)
