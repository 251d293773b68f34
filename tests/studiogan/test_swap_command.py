"""What `rcas swap` works out before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rcas_plugin import RcasError
from rcas_plugin.files import write_json
from rcas_plugin.studiogan.swap_command import interrupted_run, plan_swap, shown

CONFIG = {"DATA": {"name": "toy", "num_classes": 3}, "OPTIMIZATION": {"total_steps": 2450, "g_lr": 0.1}}


def checkpoint(folder: Path, record: dict[str, Any] | None, *, step: int = 0, run_name: str = "toy-DCGAN-train-x") -> Path:
    folder.mkdir(parents=True)
    for network in "GD":
        states = {"state_dict": {}, "step": step, "run_name": run_name}
        torch.save(states, folder / f"model={network}-current-weights-step={step}.pth")
    if record is not None:
        write_json(folder / "rcas.json", record)
    return folder


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A StudioGAN with one config, a data set of the classes 8, 9, 0 and rust."""
    (tmp_path / "studio" / "src" / "configs" / "toy").mkdir(parents=True)
    (tmp_path / "studio" / "src" / "main.py").touch()
    own = yaml.safe_dump({**CONFIG, "RCAS": {"swap": {0: 1}}})
    (tmp_path / "studio" / "src" / "configs" / "toy" / "DCGAN.yaml").write_text(own)
    for name in ("0", "8", "9", "rust"):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
    return tmp_path


def plan(room: Path, ckpt: Path, slot: str = "9", new: str = "0", **options: Any) -> Any:
    return plan_swap(room / "studio", ckpt, room / "data", slot, new, room / "out", **options)


def test_the_recorded_config_with_the_swap_in_it(room: Path) -> None:
    ckpt = checkpoint(room / "ckpt", {"labels": ["8", "9", "x"], "config": CONFIG, "seconds_per_step": 0.5})
    found = plan(room, ckpt)
    assert found.config["RCAS"] == {"method": "class_swap", "swap": {"9": "0"}}
    assert found.config["OPTIMIZATION"] == {"total_steps": 500, "g_lr": 0.1}, "a fifth of the pre-training, in full hundreds"
    assert CONFIG["OPTIMIZATION"]["total_steps"] == 2450
    assert not (room / "out").exists()
    assert found.command[-2:] == ["--num_workers", "0"] or torch.cuda.is_available()
    assert str(ckpt) in found.command
    assert any("about 4 min at the 0.5 s a step" in sentence for sentence in found.sentences)
    text = shown(found)
    assert yaml.safe_load(text[: text.rindex("\n\n")])["RCAS"]["swap"] == {"9": "0"}
    assert "-hdf5 -l" in text


def test_indices_names_and_options(room: Path) -> None:
    ckpt = checkpoint(room / "ckpt", {"labels": ["a", "b", "c"], "config": CONFIG})
    found = plan(room, ckpt, "2", "rust", steps=40, method="fine_tune", accelerate=True)
    assert found.config["RCAS"] == {"method": "fine_tune", "swap": {2: "rust"}, "accelerate": True}
    assert found.config["OPTIMIZATION"]["total_steps"] == 40
    fresh = room / "fresh"
    fresh.mkdir()
    assert plan(room, ckpt, "b", "7", new_data=fresh).config["RCAS"]["swap"] == {"b": "7"}
    assert plan(room, ckpt, "b", "2").config["RCAS"]["swap"] == {"b": 2}


def test_without_a_record_it_is_studiogans_config_of_the_runs_name(room: Path) -> None:
    found = plan(room, checkpoint(room / "ckpt", None))
    assert found.config["OPTIMIZATION"]["g_lr"] == 0.1
    assert found.config["RCAS"]["swap"] == {9: "0"}
    with pytest.raises(RcasError, match=r"^--cfg is missing; .* does not record the config that trained it"):
        plan(room, checkpoint(room / "other", None, run_name="elsewhere-train"))
    (room / "mine.yaml").write_text("DATA: {name: mine}")
    with pytest.raises(RcasError, match=r"^--steps is missing"):
        plan(room, room / "other", cfg=room / "mine.yaml")
    with pytest.raises(RcasError, match=r"^--data: .* holds no train/<class>/ folders"):
        plan_swap(room / "studio", room / "ckpt", room / "nowhere", "9", "0", room / "out")


def test_the_same_command_goes_on(room: Path) -> None:
    ckpt = checkpoint(room / "ckpt", {"labels": ["8", "9", "x"], "config": CONFIG})
    assert interrupted_run(room / "out", ckpt) is None
    checkpoint(room / "out" / "checkpoints" / "other", {"source": "/elsewhere"}, step=500)
    run = checkpoint(room / "out" / "checkpoints" / "mine", {"source": str(ckpt.resolve())}, step=200)
    found = plan(room, ckpt)
    assert interrupted_run(room / "out", ckpt) == run
    assert found.command[found.command.index("-ckpt") + 1] == str(run)
    assert any("goes on after step 200" in sentence for sentence in found.sentences)
    assert not found.done
    assert plan(room, ckpt, steps=200).done
