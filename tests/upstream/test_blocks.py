"""Blocks of every backbone, and `--freezeD` with a swap, through the real main.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.importance.selection import Selection
from rcas_plugin.weights.blocks import find_blocks, synapses_in
from rcas_plugin.weights.synapses import find_synapses

from .conftest import TRAIN, Trained, run_main
from .test_backbones import BACKBONES, build
from .test_stylegan import stylegan

#: Blocks of G and D at 32x32; attention is a block of its own, and counted as --freezeD counts it.
BLOCKS = {"deep_conv": (3, 3), "big_resnet": (4, 5), "big_resnet_deep_legacy": (4, 4), "big_resnet_deep_studiogan": (4, 4),
          "stylegan2": (4, 4)}  # fmt: skip


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_blocks_in_order(name: str, studiogan: Path, tmp_path: Path) -> None:
    gan = build(studiogan, tmp_path, name)
    counts = len(find_blocks(gan.generator)), len(find_blocks(gan.discriminator))
    assert counts == BLOCKS.get(name, (3, 4))
    for network in (gan.generator, gan.discriminator):
        blocks = [synapses_in(network, [index], "key") for index in range(len(find_blocks(network)))]
        assert all(blocks), "each has weights"
        rest = synapses_in(network, ["rest"], "key")
        assert sum(map(len, blocks)) + len(rest) == len(find_synapses(network))
        if hasattr(network, "blocks"):
            assert find_blocks(network) == [*network.blocks]


@pytest.mark.usefixtures("narrow_stylegan")
def test_stylegan_3_has_a_block_a_layer(studiogan: Path, tmp_path: Path) -> None:
    gan = stylegan(studiogan, tmp_path, backbone="stylegan3")
    names = [*synapses_in(gan.generator, [*range(len(find_blocks(gan.generator)))], "key")]
    assert len(find_blocks(gan.generator)) > 4
    assert all(name.startswith("synthesis.") for name in names)
    assert len(find_blocks(gan.discriminator)) == 4


@pytest.mark.slow
def test_frozen_blocks_are_neither_reinitialised_nor_trained(trained: Trained, tmp_path: Path) -> None:
    """A swap under --freezeD goes on as it was started, without the option too: upstream's own would start anew."""
    config = trained.swap_config(tmp_path / "swap.yaml", preset="rcas_10", selection={"blocks": {"discriminator": [1, 2]}})
    options = ("-data", trained.new_data, "-save", tmp_path / "out", "--freezeD", "2")
    run_main(trained.studiogan, *TRAIN, "-cfg", config, "-ckpt", trained.checkpoint, *options)
    (run,) = (tmp_path / "out" / "checkpoints").iterdir()
    selection = Selection.load(run / "selection.safetensors")
    touched = {name for name, mask in selection.discriminator.items() if mask.any()}
    assert touched
    assert all(name.startswith("blocks.2.") for name in touched)

    def discriminator(folder: Path) -> dict[str, torch.Tensor]:
        return dict(Checkpoint.read(folder).states["discriminator"])

    def assert_frozen(moment: str) -> None:
        before, after = discriminator(trained.checkpoint), discriminator(run)
        for name in after:
            if name.endswith(("weight_u", "weight_v")):
                continue
            same = torch.equal(before[name], after[name])
            assert same == name.startswith(("blocks.0.", "blocks.1.")) or not after[name].any(), f"{moment}: {name}"

    assert_frozen("after the swap")
    longer = trained.swap_config(
        tmp_path / "swap.yaml", preset="rcas_10", selection={"blocks": {"discriminator": [1, 2]}}, steps=6
    )
    other = run_main(trained.studiogan, *TRAIN, "-cfg", longer, "-ckpt", run, *options[:-1], "1", ok=False)
    assert "--freezeD: this swap was started with 2 frozen blocks; give that number" in other.stderr
    run_main(trained.studiogan, *TRAIN, "-cfg", longer, "-ckpt", run, *options[:-2])
    assert [*(tmp_path / "out" / "checkpoints").iterdir()] == [run], "it goes on in its own folder"
    assert Checkpoint.read(run).step > 4
    assert_frozen("after it went on")


def test_more_frozen_blocks_than_there_are_is_refused(trained: Trained, tmp_path: Path) -> None:
    config = trained.swap_config(tmp_path / "swap.yaml")
    ended = run_main(trained.studiogan, *TRAIN, "-cfg", config, "-ckpt", trained.checkpoint, "-data", trained.new_data,
                     "-save", tmp_path / "out", "--freezeD", "4", ok=False)  # fmt: skip
    assert ended.returncode == 2
    assert "--freezeD: 4 blocks, and this discriminator has 4; allowed: 0 to 3" in ended.stderr
    assert not (tmp_path / "out").exists()
