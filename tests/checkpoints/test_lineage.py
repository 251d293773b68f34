"""Swaps of swaps on the embedded networks: the last run's folder alone brings every earlier state back."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import FOLDER, Lineage, check_tasks, inherit, read_lineage
from rcas_plugin.checkpoints.router import load_router
from rcas_plugin.embedded import loop
from rcas_plugin.gan import generate
from rcas_plugin.record import RECORD, LineageSwap, read_record, write_record
from rcas_plugin.studiogan.folding import fold_checkpoint

#: Labels a, b, c at first. The same slot again, other slots, a class that comes back.
FIVE = (("b", "d"), ("d", "e"), ("a", "f"), ("e", "b"), ("c", "a"))


class Room:
    """Image folders of the classes a to f, a GAN pre-trained on a, b, c, and swaps from there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        source = np.random.default_rng(0)
        for index, name in enumerate("abcdef"):
            folder = root / "all" / name
            folder.mkdir(parents=True)
            for number in range(4):
                Image.fromarray((40 * index + source.integers(0, 30, (8, 8))).astype(np.uint8)).save(folder / f"{number}.png")
        self.pretrained = self.train("pretrained", "abc", None)

    def config(self, name: str, **sections: Any) -> Path:
        content = {
            "DATA": {"name": "toy", "img_size": 32, "num_classes": 3},
            "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
            "OPTIMIZATION": {"batch_size": 4, "beta1": 0.0, "g_lr": 0.02, "total_steps": 2},
        }
        path = self.root / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**content, **sections}))
        return path

    def data(self, classes: str) -> Path:
        """A data set of these classes alone."""
        root = self.root / f"data-{''.join(sorted(classes))}"
        for name in classes:
            if not (root / "train" / name).is_dir():
                shutil.copytree(self.root / "all" / name, root / "train" / name)
        return root

    def train(self, name: str, classes: str, source: Path | None, **rcas: Any) -> Path:
        section = {"method": "fine_tune", "snapshot_images": 0, "swap_metrics": 0, "retain": 0, **rcas}
        config = self.config(name, **({} if source is None else {"RCAS": section}))
        return loop.train(config, self.data(classes), self.root / f"out-{name}", source, progress=False)

    def images(self, generator: Any, label: int) -> Tensor:
        z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            return generate(generator, z, torch.full((3,), label))

    def gan(self, ckpt: Path | None) -> Any:
        generator = loop.load_gan(self.config("plain"), ckpt, seed=7).generator
        return generator.eval()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return Room(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def twice(room: Room) -> tuple[Path, Path]:
    """b for d, and then d for e."""
    first = room.train("once", "abcd", room.pretrained, swap={"b": "d"})
    return first, room.train("twice", "abcde", first, swap={"d": "e"})


def test_the_first_task_comes_back_to_the_bit(room: Room, twice: tuple[Path, Path]) -> None:
    first, second = twice
    lineage = read_lineage(second)
    again = room.gan(None)
    again.load_state_dict(dict(lineage.states[1]))
    assert torch.equal(room.images(again, 1), room.images(room.gan(first), 1))
    assert not torch.equal(room.images(again, 1), room.images(room.gan(second), 1)), "the second swap has moved it"
    again.load_state_dict(dict(lineage.states[0]))
    assert torch.equal(room.images(again, 1), room.images(room.gan(room.pretrained), 1))


def test_what_a_swap_records(twice: tuple[Path, Path]) -> None:
    first, second = twice
    record = read_record(second)
    assert [path.name for path in sorted((first / FOLDER).iterdir())] == ["base.safetensors"]
    assert [path.name for path in sorted((second / FOLDER).iterdir())] == ["base.safetensors", "task-0001.safetensors"]
    earlier, own = record.lineage
    assert (earlier.method, earlier.run, earlier.steps, earlier.task) == ("fine_tune", first.name, 2, "task-0001.safetensors")
    assert (earlier.labels_before, earlier.labels) == (tuple("abc"), tuple("adc"))
    assert (earlier.slots[1].old, earlier.slots[1].new) == ("b", "d")
    assert (own.slots[1].old, own.slots[1].new, own.task, own.steps) == ("d", "e", None, None)
    assert own.labels == record.labels == tuple("aec")


def test_files_are_shared_and_never_written_again(room: Room, twice: tuple[Path, Path], tmp_path: Path) -> None:
    _, second = twice
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (second / FOLDER).iterdir()}
    checkpoint = Checkpoint.read(second)
    inherited = inherit(checkpoint, tmp_path / "third")
    for path, (time, content) in files.items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (time, content)
        assert (tmp_path / "third" / FOLDER / path.name).samefile(path)
    assert inherit(checkpoint, tmp_path / "third") == inherited, "the same start again"
    state = checkpoint.states["generator"]
    other = {"state_dict": {**state, "linear0.bias": state["linear0.bias"] + 1}}
    with pytest.raises(RcasError, match=r"task-0002\.safetensors is there already, with another state"):
        inherit(dataclasses.replace(checkpoint, contents={**checkpoint.contents, "G": other}), tmp_path / "third")


def test_copies_where_the_file_system_has_no_links(
    twice: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second = twice

    def refused(*paths: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refused)
    inherit(Checkpoint.read(second), tmp_path / "third")
    for path in (second / FOLDER).iterdir():
        copy = tmp_path / "third" / FOLDER / path.name
        assert copy.read_bytes() == path.read_bytes()
        assert not copy.samefile(path)


@pytest.mark.slow
def test_five_in_a_row_from_the_last_folder_alone(room: Room) -> None:
    """Issue 14: the same slot again, other slots, a class that comes back; old class folders there and gone."""
    source, labels = room.pretrained, ["a", "b", "c"]
    made: dict[str, tuple[int, Tensor]] = {}
    for number, (old, new) in enumerate(FIVE):
        slot = labels.index(old)
        labels[slot] = new
        classes = "".join({*labels, old}) if number % 2 else "".join(labels)
        method = {"method": "class_swap", "label_start": {"iterations": 2, "batch_size": 4}} if number % 2 else {}
        run = room.train(f"five-{number}", classes, source, swap={old: new}, **method)
        made[new] = (slot, room.images(room.gan(run), slot))
        if source != room.pretrained:
            shutil.rmtree(source)
        source = run
    record = read_record(source)
    assert [next(iter(swap.slots.values())).new for swap in record.lineage] == [new for _, new in FIVE]
    assert record.labels == ("f", "b", "a")
    router = load_router(source, room.gan(None))
    for label, name in enumerate(record.labels):
        slot, images = made[name]
        assert slot == label
        assert torch.equal(room.images(router, label), images), name
    last = room.gan(source)
    assert not torch.equal(room.images(last, 0), made["f"][1]), "two swaps later the live generator shows f in another way"
    lineage = read_lineage(source)
    restored = room.gan(None)
    for index, (_, name) in enumerate(FIVE[:-1], 1):
        restored.load_state_dict(dict(lineage.states[index]))
        assert torch.equal(room.images(restored, made[name][0]), made[name][1]), name


@pytest.mark.parametrize("damage", ["cut", "another", "gone", "base"])
def test_a_damaged_file_stops_the_next_swap_before_anything_is_written(
    room: Room, twice: tuple[Path, Path], tmp_path: Path, damage: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(twice[1], run)
    file = run / FOLDER / ("base.safetensors" if damage == "base" else "task-0001.safetensors")
    if damage == "gone":
        file.unlink()
    elif damage == "another":
        shutil.copyfile(run / FOLDER / "base.safetensors", file)
    else:
        file.write_bytes(file.read_bytes()[:-9])
    for use in (lambda: read_lineage(run), lambda: check_tasks(run, read_record(run)),
                lambda: room.train(f"damaged-{damage}", "abcef", run, swap={"a": "f"})):  # fmt: skip
        with pytest.raises(RcasError, match="or delete the folder that holds it: earlier states are then lost") as mistake:
            use()
        assert str(mistake.value).startswith(str(file))
    assert not (room.root / f"out-damaged-{damage}").exists()
    if damage == "gone":
        shutil.rmtree(run / FOLDER)  # the cure
        after = read_record(room.train("cured", "abcef", run, swap={"a": "f"}))
        assert [swap.task for swap in after.lineage] == [None, None, None]
        assert [swap.run for swap in after.lineage] == [twice[0].name, "run", None]


def test_a_run_of_an_earlier_version_is_a_lineage_of_one(room: Room, twice: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "older"
    shutil.copytree(twice[0], run)
    shutil.rmtree(run / FOLDER)
    content = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({key: value for key, value in content.items() if key not in ("lineage", "base_sha256")}))
    (swap,) = read_record(twice[0]).swaps
    assert read_record(run).swaps == (swap.model_copy(update={"unused": None}),)
    with pytest.raises(RcasError, match=r"base\.safetensors cannot be read"):
        read_lineage(run)
    later = room.train("later", "abcde", run, swap={"d": "e"})
    lineage = read_lineage(later)
    assert ([swap.run for swap in lineage.swaps], lineage.tasks) == (["older", None], ())
    router = load_router(later, room.gan(None))
    assert torch.equal(room.images(router, 0), room.images(room.gan(run), 0)), "the source is the base"
    with pytest.raises(RcasError, match="is no run of a swap"):
        read_lineage(room.pretrained)


def test_a_folded_checkpoint_keeps_the_lineage(room: Room, twice: tuple[Path, Path], tmp_path: Path) -> None:
    run = room.train("adapted", "abcef", twice[1], method="bn_propagation", swap={"a": "f"}, stages={"bn": 1, "ft": 1},
                     label_start={"iterations": 3, "batch_size": 4})  # fmt: skip
    fold_checkpoint(run, tmp_path / "folded")
    assert read_record(tmp_path / "folded").lineage == read_record(run).lineage
    one, other = (load_router(folder, room.gan(None)) for folder in (run, tmp_path / "folded"))
    for label in range(3):
        assert torch.equal(room.images(one, label), room.images(other, label))
    later = room.train("after-folded", "bcdef", tmp_path / "folded", swap={"c": "d"})
    unfolded = room.train("after-adapted", "bcdef", run, swap={"c": "d"})
    states = [read_lineage(folder).states[-1] for folder in (later, unfolded)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert set(read_lineage(unfolded).tasks[-1].adapters) > set(read_lineage(later).tasks[-1].adapters) == set()


@pytest.mark.parametrize("name", ["../task-0001.safetensors", "/etc/passwd", "a/b", "..", ""])
def test_a_strangers_record_names_no_path(twice: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    content = json.loads((twice[1] / RECORD).read_text())
    content["lineage"][0]["task"] = name
    (tmp_path / RECORD).write_text(json.dumps(content))
    with pytest.raises(RcasError, match=r"rcas\.json cannot be read \(lineage\.0\.task: .* no path\)"):
        read_record(tmp_path)


def test_labels_that_move_are_followed_by_their_class() -> None:
    """RCAS.classes may give a class another label: its images come from its own state, by its number there."""
    swaps = (LineageSwap.of("x", {1: "d"}, "abc", "adc"), LineageSwap.of("x", {0: "e"}, "adc", "ecd"))
    routes: Callable[..., list[Any]] = lambda tasks: Lineage(swaps, {}, tasks).routes  # noqa: E731
    assert routes((None,)) == [(2, 0), (0, 2), (1, 1)]
    assert routes(()) == [(1, 0), (0, 2), (0, 1)], "without a task of the first swap the base holds its class"
    with pytest.raises(RcasError, match="does not say where the class 'z' comes from"):
        Lineage((LineageSwap.of("x", {1: "d"}, "abc", "zdc"),), {}, ()).routes  # noqa: B018


def test_a_record_that_is_written_again_keeps_its_lineage(twice: tuple[Path, Path], tmp_path: Path) -> None:
    """A run writes its record at each save, and knows nothing of its source any more."""
    shutil.copy(twice[1] / RECORD, tmp_path)
    content = json.loads((tmp_path / RECORD).read_text())
    write_record(tmp_path, {key: value for key, value in content.items() if key not in ("lineage", "base_sha256")})
    assert json.loads((tmp_path / RECORD).read_text()) == content
