"""What `rcas swap` works out before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rcas_plugin import RcasError
from rcas_plugin.files import write_json
from rcas_plugin.labels import resolve_labels
from rcas_plugin.record import Inheritance, LineageSwap, read_record, swap_record, write_record
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan import main_run
from rcas_plugin.studiogan.data import folder_classes
from rcas_plugin.studiogan.swap_command import plan_swap, run_swap, sentences_at_end, shown

LABELS = ["8", "9", "x"]
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
    for name in ("0", "8", "9", "rust", "x"):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        (tmp_path / "data" / "train" / name / "1.png").touch()
    return tmp_path


def swapped(room: Path, folder: Path, ckpt: Path, slot: str = "9", new: str = "0", *, step: int, **options: Any) -> Path:
    """A run of the swap that `rcas swap` plans."""
    settings = parse_settings(plan(room, ckpt, slot, new, **options).config["RCAS"])
    made = resolve_labels(settings, 3, folder_classes(room / "data" / "train"), LABELS)
    return checkpoint(folder, {**swap_record(settings, made, ckpt), "config": CONFIG}, step=step)


def plan(room: Path, ckpt: Path, slot: str = "9", new: str = "0", **options: Any) -> Any:
    return plan_swap(room / "studio", ckpt, room / "data", slot, new, room / "out", **options)


def test_the_recorded_config_with_the_swap_in_it(room: Path) -> None:
    ckpt = checkpoint(room / "ckpt", {"labels": LABELS, "config": CONFIG, "seconds_per_step": 0.5})
    found = plan(room, ckpt)
    assert found.config["RCAS"] == {"method": "class_swap", "swap": {"9": "0"}}
    assert found.config["OPTIMIZATION"] == {"total_steps": 500, "g_lr": 0.1}, "a fifth of the pre-training, in full hundreds"
    assert CONFIG["OPTIMIZATION"]["total_steps"] == 2450
    assert not (room / "out").exists()
    assert found.command[-2:] == ("--num_workers", "0") or torch.cuda.is_available()
    assert str(ckpt) in found.command
    assert any("about 4 min at the 0.5 s a step" in sentence for sentence in found.sentences)
    text = shown(found)
    assert yaml.safe_load(text[: text.rindex("\n\n")])["RCAS"]["swap"] == {"9": "0"}
    assert "-hdf5 -l" in text
    assert text.endswith("-cfg swap.yaml")


def test_indices_names_and_options(room: Path) -> None:
    ckpt = checkpoint(room / "ckpt", {"labels": ["8", "9", "0"], "config": CONFIG})
    found = plan(room, ckpt, "2", "rust", steps=40, method="fine_tune", accelerate=True)
    assert found.config["RCAS"] == {"method": "fine_tune", "swap": {2: "rust"}, "accelerate": True}
    assert found.config["OPTIMIZATION"]["total_steps"] == 40
    fresh = room / "fresh"
    fresh.mkdir()
    (fresh / "1.png").touch()
    assert plan(room, ckpt, "8", "7", new_data=fresh).config["RCAS"]["swap"] == {"8": "7"}
    assert plan(room, ckpt, "8", "4").config["RCAS"]["swap"] == {"8": 4}


def test_without_a_record_it_is_studiogans_config_of_the_runs_name(room: Path) -> None:
    found = plan(room, checkpoint(room / "ckpt", None), labels=LABELS)
    assert found.config["OPTIMIZATION"]["g_lr"] == 0.1
    assert found.config["RCAS"] == {"method": "class_swap", "swap": {"9": "0"}, "labels": LABELS}
    with pytest.raises(RcasError, match=r"^--cfg is missing; .* does not record the config that trained it"):
        plan(room, checkpoint(room / "other", None, run_name="elsewhere-train"))
    (room / "mine.yaml").write_text("DATA: {name: mine}")
    with pytest.raises(RcasError, match=r"^--cfg: .* holds no DATA.num_classes"):
        plan(room, room / "other", cfg=room / "mine.yaml")
    (room / "mine.yaml").write_text("DATA: {name: mine, num_classes: 3}")
    with pytest.raises(RcasError, match=r"^--steps is missing"):
        plan(room, room / "other", cfg=room / "mine.yaml", labels=LABELS)
    with pytest.raises(RcasError, match=r"^--data: .* holds no train/<class>/ folders"):
        plan_swap(room / "studio", room / "ckpt", room / "nowhere", "9", "0", room / "out")


def test_the_same_swap_goes_on(room: Path) -> None:
    """L4: the newest run of the same swap of the same checkpoint; more steps go further, and it is done when they are."""
    ckpt = checkpoint(room / "ckpt", {"labels": LABELS, "config": CONFIG})
    assert plan(room, ckpt).run is None
    checkpoint(room / "out" / "checkpoints" / "other", {"source": "/elsewhere"}, step=500)
    swapped(room, room / "out" / "checkpoints" / "earlier", ckpt, step=100)
    for file in (room / "out" / "checkpoints" / "earlier").glob("*.pth"):
        os.utime(file, (1, 1))
    run = swapped(room, room / "out" / "checkpoints" / "mine", ckpt, step=200)
    (room / "out" / "checkpoints" / "stopped").mkdir()  # before its first checkpoint
    (room / "out" / "checkpoints" / "stopped" / "rcas.json").write_bytes((run / "rcas.json").read_bytes())
    for found in (plan(room, ckpt), plan(room, ckpt, "1"), plan(room, ckpt, accelerate=True)):
        assert found.run == run
        assert found.command[found.command.index("-ckpt") + 1] == str(run)
        assert any("goes on after step 200" in sentence for sentence in found.sentences)
        assert not found.done
    assert plan(room, ckpt, steps=200).done


@pytest.mark.parametrize(
    ("slot", "new", "options"),
    [("8", "0", {}), ("9", "rust", {}), ("9", "0", {"method": "fine_tune"}), ("9", "0", {"labels": ["8", "9", "y"]})],
)
def test_another_swap_starts_from_the_checkpoint_that_was_named(room: Path, slot: str, new: str, options: dict[str, Any]) -> None:
    """L4: another slot, class or method with the same --out is neither done nor goes on with the first one's result."""
    (room / "data" / "train" / "y").mkdir()
    (room / "data" / "train" / "y" / "1.png").touch()
    ckpt = checkpoint(room / "ckpt", {"labels": LABELS, "config": CONFIG})
    swapped(room, room / "out" / "checkpoints" / "mine", ckpt, step=500)
    assert plan(room, ckpt).done
    found = plan(room, ckpt, slot, new, **options)
    assert (found.run, found.done) == (None, False)
    assert found.command[found.command.index("-ckpt") + 1] == str(ckpt)
    assert not any("goes on" in sentence for sentence in found.sentences)


def test_a_run_that_is_named_itself_goes_on_wherever_it_lies(room: Path) -> None:
    """L4: a moved run folder as --ckpt, with the swap that it holds; another swap starts from it."""
    ckpt = checkpoint(room / "ckpt", {"labels": LABELS, "config": CONFIG})
    run = swapped(room, room / "moved", ckpt, step=200)
    found = plan(room, run)
    assert (found.run, found.config["OPTIMIZATION"]["total_steps"]) == (run, CONFIG["OPTIMIZATION"]["total_steps"])
    assert plan(room, run, "0", "9").run is None, "back to the first class"
    assert plan(room, run, "0", "rust").run is None


class Main:
    """Stands for main.py: writes a run's folder, or refuses."""

    def __init__(self, room: Path, code: int) -> None:
        self.room, self.code, self.read = room, code, ""

    def __call__(self, command: list[str], env: Mapping[str, str]) -> Main:
        config = Path(command[command.index("-cfg") + 1])
        assert config.name == "swap.yaml", "upstream names the run after it"
        self.read = config.read_text()
        if self.code == 0:
            folder = self.room / "out" / "checkpoints" / f"run-{len(list(self.room.glob('out/checkpoints/*')))}"
            section = yaml.safe_load(self.read)["RCAS"]
            ((slot, new),) = section["swap"].items()
            swapped(self.room, folder, self.room / "ckpt", slot, new, step=500, method=section["method"])
        return self

    def __enter__(self) -> Main:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def wait(self) -> int:
        return self.code


def test_the_config_lies_in_the_run_and_a_refusal_leaves_nothing(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L4: two swaps in one --out keep a config each, and nothing is there where main.py refuses."""
    ckpt = checkpoint(room / "ckpt", {"labels": LABELS, "config": CONFIG})
    monkeypatch.setattr(main_run.subprocess, "Popen", Main(room, 2))
    assert run_swap(plan(room, ckpt)) == 2
    assert not (room / "out").exists()
    monkeypatch.setattr(main_run.subprocess, "Popen", Main(room, 0))
    for method in ("class_swap", "fine_tune"):
        assert run_swap(plan(room, ckpt, method=method)) == 0
        assert plan(room, ckpt, method=method).done
    kept = [yaml.safe_load(path.read_text())["RCAS"]["method"] for path in sorted((room / "out").rglob("swap.yaml"))]
    assert kept == ["class_swap", "fine_tune"]
    assert sorted(path.name for path in (room / "out").iterdir()) == ["checkpoints"]


def test_names_come_before_indices_and_a_guess_is_asked_back(room: Path) -> None:
    """L8: without a record, a number that is one label's class and another's index is no guess to train on."""
    train = room / "data" / "train"
    for name in ("8", "9", "x"):
        (train / name).rename(train / {"8": "1", "9": "2", "x": "20"}[name])
    ckpt = checkpoint(room / "ckpt", {"config": CONFIG})
    (train / "0" / "1.png").rename(room / "1.png")
    (train / "0").rmdir()
    with pytest.raises(RcasError) as mistake:  # the labels are 1, 2, 20
        plan(room, ckpt, "2", "rust")
    assert str(mistake.value).startswith("--slot: 2 is the class of label 1, and label 2 has the class '20'")
    assert "--labels 1 2 20" in str(mistake.value)
    assert plan(room, ckpt, "2", "rust", labels=["1", "2", "20"]).config["RCAS"]["swap"] == {"2": "rust"}
    assert plan(room, ckpt, "20", "rust").config["RCAS"]["swap"] == {"20": "rust"}
    assert plan(room, ckpt, "0", "rust").config["RCAS"]["swap"] == {0: "rust"}, "no class is called 0"
    recorded = checkpoint(room / "recorded", {"labels": ["1", "2", "20"], "config": CONFIG})
    assert plan(room, recorded, "2", "rust").config["RCAS"]["swap"] == {"2": "rust"}


def test_sentences_name_the_option(room: Path) -> None:
    """L9: what main.py would ask for as RCAS.labels is --labels here, ready to paste."""
    for name in ("8", "rust"):
        (room / "data" / "train" / name / "1.png").unlink()
        (room / "data" / "train" / name).rmdir()
    ckpt = checkpoint(room / "ckpt", {"config": CONFIG})
    with pytest.raises(RcasError, match=r'^--labels: nothing records .* in order: --labels "8" "9" "x"$'):
        plan(room, ckpt, "8", "0")


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_a_swap_of_a_swap_of_a_swap(room: Path, kept: bool, named: bool) -> None:
    """Issue 14: each from the run before; the same slot again, other slots, classes that come back; old folders there or gone."""
    train, labels = room / "data" / "train", list(LABELS)
    source = checkpoint(room / "ckpt", {"config": CONFIG, **({} if named else {"labels": LABELS})})
    for number, (slot, new) in enumerate((("9", "0"), ("0", "rust"), ("8", "9"), ("x", "0"), ("9", "8"))):
        for name in () if kept else (*labels, *(path.name for path in train.iterdir()), new):
            here, gone = train / name, room / f"gone-{name}"
            wanted = name in labels or name == new
            if (gone if wanted else here).is_dir():
                (gone if wanted else here).rename(here if wanted else gone)
        more = {"labels": LABELS} if named and not number else {}
        found = plan(room, source, slot, new, **more)
        assert found.config["RCAS"]["swap"] == {slot: new}
        assert found.config["OPTIMIZATION"]["total_steps"] == 500, "as many steps as the first swap of the pre-trained GAN"
        assert (found.run, found.done) == (None, False)
        record = read_record(source)
        made = resolve_labels(parse_settings(found.config["RCAS"]), 3, folder_classes(train), record.labels)
        labels[labels.index(slot)] = new
        assert list(made.names) == labels
        written = swap_record(parse_settings(found.config["RCAS"]), made, source, Inheritance(record.swaps))
        config = {key: section for key, section in found.config.items() if key != "RCAS"}
        source = checkpoint(room / "out" / "checkpoints" / str(number), {**written, "config": config}, step=500)
        assert plan(room, source, slot, new).done, "the same command on the run itself"
    assert [next(iter(swap.slots)) for swap in read_record(source).lineage] == [1, 1, 0, 2, 0]
    assert labels == ["8", "rust", "0"]


@pytest.mark.parametrize(("method", "said"), [("gan_memory", "rcas memory lists its tasks"), ("fine_tune", "any StudioGAN")])
def test_what_is_said_of_a_run_at_its_end(method: str, said: str, tmp_path: Path) -> None:
    swap = LineageSwap.of(method, {1: "d"}, "abc", "adc")
    write_record(tmp_path, {"lineage": [swap.model_dump(mode="json", exclude_unset=True)]})
    done, loads = sentences_at_end(tmp_path)
    assert done == f"done: {tmp_path}"
    assert said in loads
