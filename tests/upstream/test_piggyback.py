"""Piggyback on upstream's own networks, and three swaps in a row through the real main.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from rcas_plugin.checkpoints.router import load_router
from rcas_plugin.gan import sample_images
from rcas_plugin.methods.piggyback import convert
from rcas_plugin.methods.piggyback.conversion import attached_filters, growth
from rcas_plugin.record import read_record
from rcas_plugin.studiogan.networks import load_gan

from .conftest import TRAIN, Trained, run_main, write_config, write_images


@pytest.mark.usefixtures("upstream")
def test_the_size_of_a_task_on_r32(studiogan: Path, tmp_path: Path) -> None:
    """family.md: resnet, 32 px, g_conv_dim 64, lambda 1/4."""
    config = write_config(tmp_path / "r32.yaml", classes=10, MODEL={"z_dim": 128, "g_conv_dim": 64})
    generator = load_gan(studiogan, config, None).generator
    assert sum(parameter.numel() for parameter in generator.parameters()) == 4_304_387
    convert(generator, 0.25)
    size = growth(generator)
    assert (size.filter_parameters, size.mixing_parameters) == (943_107, 442_368)


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize(
    ("backbone", "model"), [("deep_conv", {}), ("big_resnet", {"g_shared_dim": 4, "apply_attn": True, "attn_g_loc": [2]})]
)
def test_other_backbones_start_as_the_base(studiogan: Path, tmp_path: Path, backbone: str, model: dict[str, object]) -> None:
    """Transposed convolutions, attention, spectral norm."""
    config = write_config(tmp_path / "other.yaml", MODEL={"backbone": backbone, "apply_g_sn": True, **model})
    gan = load_gan(studiogan, config, None)
    labels = torch.arange(3)
    images = sample_images(gan.generator, labels, gan.latents)
    convert(gan.generator, 0.25)
    adapters = attached_filters(gan.generator)
    assert {filters.dim for filters in adapters.values()} == ({0, 1} if backbone == "deep_conv" else {0})
    assert [name for name, filters in adapters.items() if filters.new.shape[filters.dim] == 3] == [list(adapters)[-1]]
    torch.testing.assert_close(sample_images(gan.generator, labels, gan.latents), images, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("upstream")
def test_three_swaps_in_a_row(trained: Trained, tmp_path: Path) -> None:
    """Each slot is made by its own task, to the bit after later ones; every other label by the base; the bank grows."""
    data = write_images(tmp_path / "data", "abcdef")
    generator = load_gan(trained.studiogan, trained.config, None).evaluated
    labels, latents = torch.arange(3).repeat_interleave(3), load_gan(trained.studiogan, trained.config, None).latents
    pretrained = load_gan(trained.studiogan, trained.config, trained.checkpoint)
    images = [sample_images(pretrained.evaluated, labels, latents)]
    start, banks, folders = trained.checkpoint, [], []
    for number, (old, new) in enumerate((("b", "d"), ("c", "e"), ("a", "f")), 1):
        config = trained.swap_config(tmp_path / "swap.yaml", method="piggyback", swap={old: new}, snapshot_images=0,
                                     sections={"OPTIMIZATION": {"g_lr": 0.01}})  # fmt: skip
        ended = run_main(
            trained.studiogan, *TRAIN, "-cfg", config, "-data", data, "-save", tmp_path / str(number), "-ckpt", start
        )
        (start,) = (tmp_path / str(number) / "checkpoints").iterdir()
        folders.append(start)
        bank = read_record(start).method["bank"]
        banks.append(bank["filters"])
        assert f"piggyback: the bank has {bank['filters']} filters; the task adds {bank['added']} " in ended.stdout + ended.stderr
        images.append(sample_images(load_router(start, generator), labels, latents))
    base, first, second, third = (dict(zip((0, 1, 2), made.split(3), strict=True)) for made in images)
    for after in (first, second, third):
        assert torch.equal(after[1], first[1])
    for before, after, slot in ((base, first, 1), (first, second, 2), (second, third, 0)):
        assert not torch.equal(before[slot], after[slot])
        assert all(torch.equal(before[label], after[label]) for label in range(3) if label != slot)
    # six 3x3 convolutions and three of one pixel, 8 filters each, 2 of them a task's own, and the output's 3: those of one pixel
    # mix no more once the bank has more than their 8 numbers
    assert banks == [9 * 8 + 3, 9 * 8 + 3 + 6 * 2, 9 * 8 + 3 + 12 * 2]
    with safe_open(folders[-1] / "tasks" / "task-0002.safetensors", framework="pt") as file:
        assert not any(name.endswith("/earlier") for name in file.keys()), "filters of earlier tasks are in their own files"  # noqa: SIM118
