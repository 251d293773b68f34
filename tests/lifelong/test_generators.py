"""The GANs' configs and sections, and which loop trains them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from rcas_plugin.embedded.steps import Loop
from rcas_plugin.errors import RcasError
from rcas_plugin.lifelong import generators
from rcas_plugin.lifelong.generators import (
    CONFIG,
    base_config,
    draw_memory,
    newest_run,
    read_memory,
    task_section,
    train_gan,
)
from rcas_plugin.sampling.replay import Replay
from rcas_plugin.studiogan import main_run
from rcas_plugin.widen import widen_checkpoint

CONFIG_OF_A_GAN: dict[str, Any] = {
    "DATA": {"name": "CIFAR100", "img_size": 32, "num_classes": 100},
    "MODEL": {"backbone": "stylegan2"},
    "OPTIMIZATION": {"total_steps": 9},
    "RCAS": {"swap": {"a": "b"}},
}


#: As the embedded loop trains it.
EMBEDDED: dict[str, Any] = {
    "DATA": {"name": "toy", "img_size": 32, "num_classes": 2},
    "MODEL": {"g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_d_sn": True, "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
    "LOSS": {"adv_loss": "hinge"},
    "OPTIMIZATION": {"batch_size": 4, "d_updates_per_step": 1, "total_steps": 20},
    "PRE": {"apply_rflip": False},
}


def test_a_first_gans_config_has_its_own_classes_and_steps() -> None:
    changed = base_config(CONFIG_OF_A_GAN, 2, 5)
    assert changed["DATA"] == {"name": "lifelong", "img_size": 32, "num_classes": 2}, "StudioGAN would fetch CIFAR100"
    assert changed["OPTIMIZATION"]["total_steps"] == 5
    assert "RCAS" not in changed
    assert base_config(CONFIG_OF_A_GAN, 2, None)["OPTIMIZATION"]["total_steps"] == 9
    assert CONFIG_OF_A_GAN["DATA"]["num_classes"] == 100, "the plan's own stays as it is"


def test_a_section_teaches_each_class_under_its_own_label(tmp_path: Path) -> None:
    section = task_section("fine_tune", ["c", "d"], {"retain": 1.0, "swap_metrics": 5}, None)
    assert section == {"method": "fine_tune", "swap": {"c": "c", "d": "d"}, "remaining_data": "replay", "swap_metrics": 5,
                       "snapshot_images": 0, "retain": 1.0}  # fmt: skip
    asked = task_section("feature_replay", ["c"], {}, tmp_path / "classifier.safetensors")
    assert asked["classifier"] == str((tmp_path / "classifier.safetensors").resolve())


@pytest.mark.parametrize(
    ("changes", "code"),
    [(CONFIG_OF_A_GAN, 0), (CONFIG_OF_A_GAN, 1), ({**EMBEDDED, "AUG": {"apply_diffaug": True}}, 0)],
)
def test_other_networks_are_trained_by_main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], code: int
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> tuple[int, bool]:
        commands.append(command)
        run_folder = tmp_path / "gan" / "checkpoints" / "run"
        run_folder.mkdir(parents=True)
        for network in "GD":
            (run_folder / f"model={network}-current-weights-step=9.pth").touch()
        return code, False

    monkeypatch.setattr(generators, "run_main", run)
    monkeypatch.setattr(generators, "find_studiogan", lambda given: tmp_path / "StudioGAN")
    monkeypatch.setattr(main_run, "main_command", lambda root, *options: [str(root), *options])
    config, folder = base_config(changes, 2, None), tmp_path / "gan"
    if code:
        with pytest.raises(RcasError, match=r"main.py has ended with 1 in .*; the reason stands above"):
            train_gan(config, tmp_path / "data", folder, tmp_path / "start", seed=3)
    else:
        assert train_gan(config, tmp_path / "data", folder, tmp_path / "start", seed=3) == folder / "checkpoints" / "run"
    command = commands[0]
    for option, value in (("-cfg", folder / CONFIG), ("-data", tmp_path / "data"), ("-ckpt", tmp_path / "start"), ("--seed", 3)):
        assert command[command.index(option) + 1] == str(value)
    assert yaml.safe_load((folder / CONFIG).read_text()) == config


def test_the_run_of_the_most_steps_is_the_newest(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    for run, step in (("a", 20), ("b", 100), ("c", 9)):
        (tmp_path / "checkpoints" / run).mkdir(parents=True)
        for network in "GD":
            (tmp_path / "checkpoints" / run / f"model={network}-current-weights-step={step}.pth").touch()
    (tmp_path / "checkpoints" / "unsaved").mkdir()
    assert newest_run(tmp_path) == tmp_path / "checkpoints" / "b"


@pytest.fixture
def taught(tmp_path: Path) -> tuple[dict[str, Any], Path, Path]:
    """(config of a later task, its data, the widened checkpoint of the first task's GAN)."""
    source = np.random.default_rng(0)
    for name in "abc":
        folder = tmp_path / ("first" if name in "ab" else "later") / "train" / name
        folder.mkdir(parents=True)
        for index in range(4):
            Image.fromarray(source.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    config = {**EMBEDDED, "DATA": {"img_size": 16}}
    first = train_gan(base_config(config, 2, 2), tmp_path / "first", tmp_path / "gan-0", None, seed=0)
    widen_checkpoint(first, tmp_path / "wide", ["c"])
    later = {**base_config(config, 3, None), "RCAS": task_section("fine_tune", ["c"], {}, None)}
    return later, tmp_path / "later", tmp_path / "wide"


def test_keys_that_are_left_out_have_upstreams_values(
    taught: tuple[dict[str, Any], Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[int] = []
    update = Loop.update_discriminator
    monkeypatch.setattr(Loop, "update_discriminator", lambda loop, step: (updates.append(loop.batch_size), update(loop, step)))
    config = {**base_config(taught[0], 2, 1), "OPTIMIZATION": {"total_steps": 1}}
    train_gan(config, tmp_path / "first", tmp_path / "gan", None, seed=0)
    assert updates == [64] * 5


def test_a_gan_that_was_interrupted_goes_on_from_its_checkpoint(
    taught: tuple[dict[str, Any], Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data, start = taught
    taken: list[int] = []
    step = Loop.step

    def counted(loop: Loop, number: int) -> None:
        if len(taken) == 5:
            taken.append(-1)
            raise KeyboardInterrupt
        taken.append(number)
        step(loop, number)

    monkeypatch.setattr(Loop, "step", counted)
    with pytest.raises(KeyboardInterrupt):
        train_gan(config, data, tmp_path / "gan-1", start, seed=0)
    run = train_gan(config, data, tmp_path / "gan-1", start, seed=0)
    assert taken == [0, 1, 2, 3, 4, -1, *range(4, 20)], "it was saved after its fourth step, and goes on there"
    assert [*(tmp_path / "gan-1" / "checkpoints").iterdir()] == [run]


def test_a_memory_has_the_classes_in_the_order_of_the_plan(taught: tuple[dict[str, Any], Path, Path], tmp_path: Path) -> None:
    _, _, start = taught
    for path, seed in (("one", 0), ("again", 0), ("other", 1)):
        draw_memory(start, ["b", "a"], 5, tmp_path / path, seed=seed)
    one, again, other = (read_memory(tmp_path / path, 3) for path in ("one", "again", "other"))
    assert one.counts.tolist() == [5, 5, 0]
    assert torch.equal(one.images, again.images)
    assert not torch.equal(one.images, other.images)
    of_run = Replay(start, ["a"], seed=0, step="newest")
    assert torch.equal(one.of(1), of_run.memory(5).tensors[0]), "class a is the plan's second, and label 0"
