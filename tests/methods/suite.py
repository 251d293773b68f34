"""What every registered method has to keep, whoever wrote it, in every engine: one class of tests, which an engine inherits.

A method is run three times in an engine: through, killed between two saves and gone on with, and as the second swap of two in a
row; the tests look at what the runs left. What a method is asked follows from the contract and its section, never from its name.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pytest
import torch
from PIL import Image

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import read_lineage
from rcas_plugin.checkpoints.router import load_router
from rcas_plugin.checkpoints.tasks import same_bits
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.methods.base import Method
from rcas_plugin.record import read_record
from rcas_plugin.registry import methods
from rcas_plugin.settings import parse_settings
from rcas_plugin.watch.snapshots import load_snapshot, moments

from .example import example_methods
from .recorder import contract

#: Keys that make a method's runs short, or lead them through all that it does; a method that is not here runs as it comes.
SECTIONS: Mapping[str, list[dict[str, Any]]] = {
    "class_swap": [{"label_start": {"iterations": 3, "batch_size": 8}}, {"preset": "rcas", "importance": {"samples": 8}}],
    "fine_tune": [{"label_lr": {"generator": 5.0, "discriminator": 5.0}}],
    "bn_propagation": [{"label_start": {"iterations": 3, "batch_size": 8}, "stages": {"bn": 2}}],
    "feature_replay": [{"train_classifier": {"width": 4, "images": 8, "epochs": 1}, "warm_up": 0, "channels": 8}],
    "piggyback": [{"filters": {"how": "task"}, "linear0": "copy"}],
}
#: Steps of a run; the step that a run is killed in, from 0; steps between its saves.
TOTAL, KILLED_IN, SAVE_FREQ = 6, 4, 3


@dataclass(frozen=True)
class Case:
    """A method and its section."""

    method: str
    section: Mapping[str, Any]

    def __str__(self) -> str:
        preset = self.section.get("preset")
        return self.method if preset is None else f"{self.method}, preset {preset}"

    def rcas(self, **keys: Any) -> dict[str, Any]:
        """The RCAS section of a swap."""
        return {"method": self.method, "snapshot_images": 3, "swap_metrics": 0, **self.section, **keys}

    @property
    def edits(self) -> bool:
        """Whether the section asks for weights to be re-initialised that serve all labels."""
        selection = getattr(parse_settings(self.rcas(swap={"b": "d"})), "selection", None)
        return selection is not None and bool(
            selection.generator_ratio or selection.discriminator_ratio or selection.scope == "threshold"
        )

    @property
    def of_the_plugin(self) -> bool:
        """Whether the method is the plugin's own: another package's is found by a Python that starts with its folder at hand."""
        return self.method_class.__module__.startswith("rcas_plugin.")

    @property
    def method_class(self) -> type[Method]:
        made: type[Method] = methods[self.method]
        return made


def cases() -> list[Case]:
    """Every method of the registry, of third parties too, and the one of the tests' package; each with its sections."""
    names = sorted({*methods, *example_methods()})
    return [Case(name, section) for name in names for section in SECTIONS.get(name, [{}])]


@dataclass(frozen=True)
class Run:
    """A run that has ended: its folder, what the recorder wrote down, and which checkpoint files were opened by whom."""

    folder: Path
    lines: list[dict[str, Any]]
    opened: list[dict[str, str]] = field(default_factory=list)

    @property
    def calls(self) -> list[str]:
        """The calls of the contract, where the run was traced."""
        return [line["call"] for line in self.lines if "call" in line]

    @property
    def updates(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "updated" in line]

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if "done" in line]

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.read(self.folder)


class Engine(Protocol):
    """Where methods run."""

    name: str
    pretrained: Path

    def swap(
        self, case: Case, save: Path, start: Path, *, processes: int = 1, killed_in: int | None = None, traced: bool = False,
        **rcas: Any,
    ) -> Run:  # fmt: skip
        """A swap from `start`, or one that goes on in it.

        Args:
            case: the method.
            save: a folder of its own, or of the run that goes on.
            start: a checkpoint's folder.
            processes: that train it.
            killed_in: the process ends in that step, as killed.
            traced: note the calls of the contract.
            rcas: further keys of the section.
        """

    def evaluate(self, case: Case, folder: Path, **rcas: Any) -> None:
        """Look at a run's images as a user does; raises where that fails."""

    def build(self) -> Gan:
        """New networks of the engine's config, with a moving average, without any method."""


class Runs:
    """What a method's runs left in an engine; each is made when it is asked for, once."""

    def __init__(self, case: Case, engine: Engine, root: Path) -> None:
        self.case, self.engine, self.root = case, engine, root

    def _swap(self, name: str, start: Path | None = None, **options: Any) -> Run:
        options = {"swap": {"b": "d"}, **options}
        return self.engine.swap(self.case, self.root / name, start or self.engine.pretrained, **options)

    @cached_property
    def whole(self) -> Run:
        """A run from start to end."""
        return self._swap("whole")

    @cached_property
    def resumed(self) -> Run:
        """The same run, killed and gone on with; its lines are those of what its checkpoints hold."""
        killed = self._swap("killed", killed_in=KILLED_IN)
        assert killed.checkpoint.step == SAVE_FREQ
        assert killed.updates[-1]["step"] == KILLED_IN - 1, "a step was lost"
        gone_on = self._swap("killed", killed.folder)
        assert gone_on.folder == killed.folder
        kept = [line for line in killed.lines if line.get("step", line.get("done", 0)) < SAVE_FREQ]
        return Run(gone_on.folder, [*kept, *gone_on.lines], gone_on.opened)

    @cached_property
    def two_processes(self) -> Run:
        """The run of `whole` in two processes."""
        return self._swap("two", processes=2)

    @cached_property
    def more_labels(self) -> Run:
        """A swap that adds a label."""
        return self._swap("more", add=["e"])

    @cached_property
    def second(self) -> tuple[Run, Mapping[str, Any]]:
        """A swap from a swap, whose folder is gone afterwards; the evaluated generator of the first, folded."""
        first = self.root / "first" / "checkpoints" / self.whole.folder.name
        shutil.copytree(self.whole.folder, first)
        state = Checkpoint.read(first).folded.states["ema"]
        run = self._swap("second", first, swap={"c": "e"})
        shutil.rmtree(first)
        return run, state


def write_classes(root: Path, names: str, count: int = 8) -> Path:
    """Folders root/train/<name>/ and root/valid/<name>/ of 32x32 squares whose brightness tells the class; returns root."""
    source = np.random.default_rng(0)
    for name in names:
        for part in ("train", "valid"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = BRIGHTNESS[name] + source.integers(-15, 16, (32, 32))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


#: Class -> mean of its images.
BRIGHTNESS = {name: 30 + 40 * index for index, name in enumerate("abcde")}


def check_ends_alike(whole: Run, resumed: Run) -> None:
    """A run that was interrupted drew what the whole one drew, and ends with the same weights and optimisers, to the bit."""
    draws = [[(line["step"], line["updated"], line["drawn"]) for line in run.updates] for run in (whole, resumed)]
    assert draws[0] == draws[1]
    assert len({line["drawn"]["latents"] for line in whole.updates}) == len(whole.updates), "all draws differ"
    one, other = whole.checkpoint, resumed.checkpoint
    assert one.step == other.step == TOTAL
    assert set(one.contents) == {"G", "D", "G_ema"}
    for network, content in one.contents.items():
        assert unequal(content["state_dict"], other.contents[network]["state_dict"]) == [], network
        assert unequal(content.get("optimizer"), other.contents[network].get("optimizer")) == [], f"{network}'s optimiser"


def check_equal(updates: Sequence[Mapping[str, Any]]) -> None:
    """All processes hold the same weights after each update, and the same buffers but for `OWN_BUFFERS`."""
    for line in updates:
        for network, names in line["unequal"].items():
            where = f"{network} after the {line['updated']}'s update of step {line['step']}"
            assert [name for name in names if not name.endswith(OWN_BUFFERS)] == [], where


def check_moved(updates: Sequence[Mapping[str, Any]]) -> None:
    """Each update moves what is trained and nothing else; all of it, within the steps that train the same.

    Not in each step: a batch without a fake of the slot moves nothing that the slot alone reaches.
    """
    moved: dict[tuple[str, ...], set[str]] = {}
    for line in updates:
        trained = tuple(name for name in line["trained"] if name.startswith(line["updated"]))
        assert set(line["moved"]) <= set(trained), f"{line['updated']} in step {line['step']}"
        moved.setdefault(trained, set()).update(line["moved"])
    assert all(trained and of_stage == set(trained) for trained, of_stage in moved.items())
    assert {line["updated"] for line in updates} == {"generator", "discriminator"}


def shown_classes(update: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The label and the class, by its brightness, of each real image of an update of D."""
    drawn = update["drawn"]
    nearest = [min(BRIGHTNESS, key=lambda name: abs(BRIGHTNESS[name] - value)) for value in drawn["brightness"]]
    return list(zip(drawn["real_labels"], nearest, strict=True))


class MethodSuite:
    """The properties. A subclass's module has a fixture `runs`, of the module's scope, with all `cases()` as parameters."""

    several_processes: ClassVar[bool] = True

    def test_the_remaining_labels_are_what_they_were_at_the_start(self, runs: Runs) -> None:
        images, labels = load_snapshot(runs.whole.folder, "before")
        assert labels.unique().tolist() == [0, 1, 2]
        pretrained = plain_images(runs.engine, Checkpoint.read(runs.engine.pretrained), labels)
        assert (pretrained - images).abs().max() < 1.01 / 127.5, "what is loaded is the pre-trained GAN"
        assert pretrained.std() > 0.01
        (start,) = (line for line in runs.whole.lines if "prepared" in line)
        if runs.case.edits:
            assert start["before"] != start["prepared"]
            pytest.skip("the section asks for weights to be re-initialised that serve all labels")
        for network, of_label in start["before"].items():
            for label in ("0", "2"):
                assert start["prepared"][network][label] == of_label[label], f"label {label} of {network}"

    def test_what_is_trained_moves_and_nothing_else(self, runs: Runs) -> None:
        updates = runs.whole.updates
        assert [(line["step"], line["updated"]) for line in updates[: 2 * TOTAL]] == [
            (step, role) for step in range(TOTAL) for role in ("discriminator", "generator")
        ]
        check_moved(updates)
        assert runs.whole.steps
        for line in runs.whole.steps:
            assert set(line["moved"]) <= set(line["averaged"]), f"the moving average in step {line['done']}"
        assert any(line["moved"] for line in runs.whole.steps)

    def test_a_run_that_goes_on_ends_as_the_one_that_was_not_interrupted(self, runs: Runs) -> None:
        check_ends_alike(runs.whole, runs.resumed)

    def test_what_is_folded_makes_the_images_of_what_was_trained(self, runs: Runs) -> None:
        folder = runs.whole.folder
        images, labels = load_snapshot(folder, moments(folder)[TOTAL])
        if runs.case.method_class.apart:
            generator = runs.engine.build().evaluated
            made = sample_images(load_router(folder, generator), labels, runs.engine.build().latents)
        else:
            made = plain_images(runs.engine, runs.whole.checkpoint, labels)
        assert (made - images).abs().max() < 1.01 / 127.5, "a snapshot is rounded to bytes"
        assert (images - load_snapshot(folder, "before")[0]).abs().max() > 2 / 127.5

    def test_two_processes_hold_equal_weights(self, runs: Runs) -> None:
        if not self.several_processes:
            pytest.skip("the embedded loop is one process")
        updates = runs.two_processes.updates
        assert runs.two_processes.checkpoint.step == TOTAL
        assert len(updates) >= 2 * TOTAL
        check_equal(updates)
        check_moved(updates)

    def test_no_image_of_an_old_class_is_drawn(self, runs: Runs) -> None:
        drawn = [pair for line in runs.whole.updates if line["updated"] == "discriminator" for pair in shown_classes(line)]
        again = [pair for line in runs.second[0].updates if line["updated"] == "discriminator" for pair in shown_classes(line)]
        if runs.case.method_class.draws == "new":
            assert (set(drawn), set(again)) == ({(1, "d")}, {(2, "e")})
            for run, slot in ((runs.whole, 1), (runs.second[0], 2)):
                assert {label for line in run.updates for label in line["drawn"]["fake_labels"]} == {slot}
            return
        if runs.case.method_class.shown(parse_settings(runs.case.rcas(swap={"b": "d"}))) == "new":  # the others are replayed
            assert {label for label, _ in drawn} == {label for label, _ in again} == {0, 1, 2}
            assert {name for label, name in drawn if label == 1} == {"d"}
            assert {name for label, name in again if label == 2} == {"e"}
            return
        assert set(drawn) == {(0, "a"), (1, "d"), (2, "c")}
        assert set(again) == {(0, "a"), (1, "d"), (2, "e")}

    def test_tasks_that_lie_apart_change_no_other_label_by_a_bit(self, runs: Runs) -> None:
        if not runs.case.method_class.apart:
            pytest.skip("the method trains weights that all labels share")
        ends = []
        for run, slot in ((runs.whole, 1), (runs.second[0], 2)):
            before, labels = load_snapshot(run.folder, "before")
            after, _ = load_snapshot(run.folder, moments(run.folder)[TOTAL])
            assert torch.equal(before[labels != slot], after[labels != slot])
            assert (before[labels == slot] - after[labels == slot]).abs().max() > 2 / 127.5
            ends.append(after[labels == 1])
        assert torch.equal(*ends), "the class of the first swap"

    def test_two_swaps_in_a_row(self, runs: Runs) -> None:
        run, _ = runs.second
        record = read_record(run.folder)
        assert record.labels == ("a", "d", "e")
        assert [slot.new for swap in record.swaps for slot in swap.slots.values()] == ["d", "e"]
        assert run.checkpoint.step == TOTAL
        runs.engine.evaluate(runs.case, run.folder, swap={"c": "e"})

    def test_another_task_leaves_the_first_to_the_bit(self, runs: Runs) -> None:
        run, first = runs.second
        base, after_first = read_lineage(run.folder).states
        assert unequal(after_first, first) == []
        pretrained = Checkpoint.read(runs.engine.pretrained).folded.states["ema"]
        assert unequal(base, pretrained) == []
        now = run.checkpoint.folded.states["ema"]
        assert unequal(now, first), "the second swap has moved something"
        assert unequal(first, base), "and so has the first"

    def test_more_labels(self, runs: Runs) -> None:
        if not runs.case.method_class.changes_labels:
            with pytest.raises(RcasError, match=r"^RCAS\.add: "):
                parse_settings(runs.case.rcas(swap={"b": "d"}, add=["e"]))
            return
        run = runs.more_labels
        assert read_record(run.folder).labels == ("a", "d", "c", "e")
        drawn = [pair for line in run.updates if line["updated"] == "discriminator" for pair in shown_classes(line)]
        assert set(drawn) == {(0, "a"), (1, "d"), (2, "c"), (3, "e")}
        (before, labels), (start, _) = (load_snapshot(run.folder, moment) for moment in ("before", "reinit"))
        kept = [index for index, label in enumerate(labels.tolist()) if label in (0, 2)]
        assert len(kept) == 6
        assert torch.equal(before[kept], start[kept])


class ContractSuite:
    """The contract's calls. A subclass's module has a fixture `engine` of the module's scope."""

    def test_every_call_is_reached_in_its_turn(self, engine: Engine, tmp_path: Path) -> None:
        steps = {"label_lr": {"generator": 2.0, "discriminator": 2.0}}
        case = Case("fine_tune", {"retain": 1.0, **steps})
        calls = engine.swap(case, tmp_path / "traced", engine.pretrained, traced=True, swap={"b": "d"}).calls
        assert set(calls) == set(contract()), "a call of the contract that no loop makes, or the other way round"
        start = ["check", "check_networks", "attach", "load", "prepare", "trained", "slot_views"]
        assert list(dict.fromkeys(call for call in calls if call in start)) == start
        assert [calls.count(call) for call in start if call != "trained"] == [1, 1, 1, 1, 1, 2]
        step = ["discriminator_loss", "generator_loss", "averaged", "after_step"]
        made = [call for call in calls if call in step]
        assert len(made) >= TOTAL * len(step)
        assert made == step * (len(made) // len(step))
        assert calls.index("slot_views") < calls.index(step[0])
        last = calls[len(calls) - calls[::-1].index("after_step") :]
        assert last[-1] == "finish"
        assert calls.count("finish") == 1
        saved = calls[calls.index("after_step") :]
        assert {"record", "random_sources"} <= set(saved), "at each save"


def plain_images(engine: Engine, checkpoint: Checkpoint, labels: torch.Tensor) -> torch.Tensor:
    """Images of a checkpoint's evaluated generator, folded into networks that know of no method, as a snapshot draws them."""
    gan = engine.build()
    for name, network in gan.networks.items():
        network.load_state_dict(checkpoint.folded.states[name])  # strictly, as a StudioGAN without the plugin does
    return sample_images(gan.evaluated, labels, gan.latents)


#: What averages over the batches of a process: without -sync_bn upstream keeps each process's own, and saves the first one's.
OWN_BUFFERS = ("running_mean", "running_var", "w_avg")


def unequal(one: Any, other: Any, name: str = "") -> list[str]:
    """The places where two nests of dictionaries, lists, tensors and values differ, tensors by a bit."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) != set(other):
            return [f"{name}: other keys"]
        return [place for key in one for place in unequal(one[key], other[key], f"{name}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return [f"{name}: other lengths"]
        return [place for index, pair in enumerate(zip(one, other, strict=True)) for place in unequal(*pair, f"{name}.{index}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if same_bits(one, other) else [name]
    return [] if one == other else [name]
