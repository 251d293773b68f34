"""The lineage of a run: every swap since its GAN was pre-trained, with the files that bring each state back.

A run's folder holds `tasks/base.safetensors`, the evaluated generator of the pre-trained checkpoint, and one file for each swap
before the run's own, `tasks/task-0001.safetensors` and so on; of the run's own swap, its checkpoint is the state. So the folder
alone has them all, and the folders of the runs before may go. Files are shared with the run before by hard links where the file
system has them. A task holds what differs from the base: after `fine_tune` or `class_swap`, which train all of the generator, it
takes about as much room as the generator.

Tasks of methods such as `gan_memory` lie apart (`LineageSwap.apart`): each is right for its own labels alone, and is small. They
share the state before the first of them, and the discriminator of that time, `tasks/discriminator.safetensors`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.tasks import (
    Task,
    check_file,
    folded,
    read_task,
    read_tensors,
    task_of,
    write_once,
    write_task,
)
from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.record import Inheritance, LineageSwap, Record, SlotFigures, lies_apart, read_record
from rcas_plugin.watch.observer import read_metrics
from rcas_plugin.weights.adapters import fold_state

#: In a run's folder: that of the states before it, and in there the pre-trained generator's file.
FOLDER, BASE = "tasks", "base.safetensors"
#: Likewise the file of the discriminator that every task starts from where tasks lie apart.
DISCRIMINATOR = "discriminator.safetensors"


class Route(NamedTuple):
    """The index into `Lineage.states` of the state that makes a label's images, and the label's number in that state."""

    state: int
    label: int


@dataclass(frozen=True)
class Lineage:
    """The states of the generator that can be restored from a run's folder.

    Attributes:
        swaps: oldest first; the run's own last.
        base: the plain state dict of the generator that the first task is held against.
        tasks: of the last swaps before the run's own, as many as there are files of.
    """

    swaps: tuple[LineageSwap, ...]
    base: Mapping[str, Tensor]
    tasks: tuple[Task, ...]

    @property
    def states(self) -> list[Mapping[str, Tensor]]:
        """Plain state dicts: the base, then the generator after each swap that has a task."""
        return [self.base, *(folded(self.base, self.tasks, index) for index in range(len(self.tasks)))]

    @property
    def anchor(self) -> int:
        """The index into `states` of the base that tasks apart share; 0 where the last swap is of another kind."""
        index = len(self.tasks) + 1
        while index and self._restored[index - 1].apart:
            index -= 1
        return index % (len(self.tasks) + 1)

    @property
    def _restored(self) -> tuple[LineageSwap, ...]:
        """The swaps after each state: the one at index n leads from state n to the next."""
        return self.swaps[-len(self.tasks) - 1 :]

    @property
    def routes(self) -> list[Route]:
        """For each label of the run: the state right after the newest swap that made its class, or the base.

        The state of the run itself, which its checkpoint holds, counts as the one behind `states`. Where the last tasks lie
        apart, the state before the first of them makes every label that is none of theirs.

        Raises:
            RcasError: the record contradicts itself.
        """
        first, restored = self.anchor, self._restored
        routes = []
        for name in self.swaps[-1].labels:
            origins = [Route(state, label) for state, swap in enumerate(restored, 1) if state > first
                       for label, slot in swap.slots.items() if slot.new == name]  # fmt: skip
            if not origins and name not in restored[first].labels_before:
                raise RcasError(f"rcas.json: its lineage does not say where the class {name!r} comes from; take a whole record")
            routes.append(origins[-1] if origins else Route(first, restored[first].labels_before.index(name)))
        return routes


def read_lineage(folder: str | Path) -> Lineage:
    """The lineage of a run, from its folder alone.

    Raises:
        RcasError: the folder is no swap's, or a file of `tasks/` is missing, damaged, or another than the record says.
    """
    record = read_record(folder)
    if not record.swaps:
        raise RcasError(f"{folder} is no run of a swap; it has no earlier states, use its checkpoint")
    base, _ = read_tensors(Path(folder) / FOLDER / BASE, record.base_sha256)
    tasks = [read_task(path, sha256) for path, sha256 in _task_files(folder, record)]
    return Lineage(record.swaps, base, tuple(tasks))


def started_lineage(checkpoint: Checkpoint, swap: LineageSwap) -> Lineage:
    """The lineage of a swap that starts from a checkpoint; what `read_lineage` gives of its folder once that is written.

    Of a folded checkpoint the newest task has its adapters all the same, which those of the swap may build on.
    """
    record, state = checkpoint.record, (checkpoint.unfolded or checkpoint).states["ema"]
    if checkpoint.folder is None or not record.swaps or not (checkpoint.folder / FOLDER).is_dir():
        return Lineage((swap,), fold_state(state), ())
    earlier = read_lineage(checkpoint.folder)
    newest = earlier.swaps[-1]
    task = task_of(state, earlier.base, newest.slots.keys(), newest.method)
    return Lineage((*earlier.swaps, swap), earlier.base, (*earlier.tasks, task))


def check_tasks(folder: str | Path, record: Record, method: str | None = None) -> None:
    """Raise `RcasError` where a swap cannot start from a run because of a file in its `tasks/`; nothing is written.

    Without that folder there is nothing to check: a swap from there begins a base of its own. Where the run's task lies apart
    the base is what the next one starts from, and has to be there.

    Args:
        folder: of the run.
        record: of the run.
        method: of the swap that starts; None to look at the files alone.
    """
    if record.swaps and record.swaps[-1].apart:
        newest, tasks = record.swaps[-1], Path(folder) / FOLDER
        if method is not None and not lies_apart(method):
            raise RcasError(
                f"RCAS.method: {method} changes weights that all labels share, and a run of {newest.method} has them for its new "
                "classes alone; go on by a method whose tasks lie apart, or start from the run that was there before them"
            )
        if not tasks.is_dir():
            raise RcasError(f"-ckpt: {tasks} is gone, and {newest.method} starts each task from the base in it; put it back")
        check_file(tasks / DISCRIMINATOR, record.discriminator_sha256)
    if (Path(folder) / FOLDER).is_dir() and record.swaps:
        check_file(Path(folder) / FOLDER / BASE, record.base_sha256)
        for path, sha256 in _task_files(folder, record):
            check_file(path, sha256)


def base_of(checkpoint: Checkpoint, lineage: Lineage) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """The plain state dicts of the generator and the discriminator that a task apart starts from.

    Args:
        checkpoint: that its swap starts from.
        lineage: of its swap.
    """
    states, record = lineage.states, checkpoint.record
    if lineage.anchor == len(lineage.tasks) or checkpoint.folder is None:
        return states[lineage.anchor], fold_state(checkpoint.states["discriminator"])
    path = checkpoint.folder / FOLDER / DISCRIMINATOR
    return states[lineage.anchor], read_tensors(path, record.discriminator_sha256)[0]


def inherit(checkpoint: Checkpoint, folder: str | Path, method: str | None = None) -> Inheritance:
    """Write `tasks/` into the folder of a swap that starts; returns the lineage's part of its record (for `swap_record`).

    The process that writes files calls it, once. From a pre-trained checkpoint it writes the base alone. From a swap it links
    what that run has, and writes that run's own swap as the newest task. Where that run has no `tasks/`, since it is of an
    earlier version or the user has deleted them, the source itself is the base, and states before it cannot be brought back.

    Args:
        checkpoint: that the swap starts from, read from a folder, adapters and all.
        folder: of the swap that starts.
        method: of that swap.

    Raises:
        RcasError: see `check_tasks`.
    """
    record = checkpoint.record
    inherited = replace(_inherit_generator(checkpoint, folder), dropped=record.dropped if record.labels else None)
    swaps = record.swaps
    if method is None or not lies_apart(method):
        return inherited
    if swaps and swaps[-1].apart:
        return replace(inherited, discriminator_sha256=record.discriminator_sha256)
    state = fold_state(checkpoint.states["discriminator"])
    return replace(inherited, discriminator_sha256=write_once(Path(folder) / FOLDER / DISCRIMINATOR, state))


def _inherit_generator(checkpoint: Checkpoint, folder: str | Path) -> Inheritance:
    """Write the states of the generator; arguments and errors as `inherit`'s."""
    assert checkpoint.folder is not None
    source, record, state = checkpoint.folder, checkpoint.record, checkpoint.states["ema"]
    source_tasks, tasks = source / FOLDER, Path(folder) / FOLDER
    check_tasks(source, record)
    if not record.swaps:
        return Inheritance((), write_once(tasks / BASE, fold_state(state)))
    *earlier, newest = record.swaps
    figures = _figures(source, newest, checkpoint.step)
    newest = newest.model_copy(update={"run": source.name, "steps": checkpoint.step, "figures": figures})
    if not source_tasks.is_dir():
        lost = tuple(swap.model_copy(update={"task": None, "sha256": None}) for swap in (*earlier, newest))
        return Inheritance(lost, write_once(tasks / BASE, fold_state(state)))
    share_tasks(source, folder, record)
    base, _ = read_tensors(source_tasks / BASE)
    name = f"task-{len(record.swaps):04d}.safetensors"
    sha256 = write_task(tasks / name, task_of(state, base, newest.slots.keys(), newest.method))
    about = {"task": name, "sha256": sha256, "bytes": (tasks / name).stat().st_size}
    if "generator" in record.parameters:
        about["parameters"] = record.parameters["generator"]
    return Inheritance((*earlier, newest.model_copy(update=about)), record.base_sha256)


def share_tasks(source: str | Path, folder: str | Path, record: Record) -> None:
    """Make the files of a run's `tasks/`, where it has one, appear in another folder too.

    Args:
        source: the run's folder.
        folder: the other one.
        record: of the run.
    """
    source_tasks, tasks = Path(source) / FOLDER, Path(folder) / FOLDER
    if not source_tasks.is_dir():
        return
    tasks.mkdir(parents=True, exist_ok=True)
    discriminator = [] if record.discriminator_sha256 is None else [source_tasks / DISCRIMINATOR]
    for path in (source_tasks / BASE, *discriminator, *(path for path, _ in _task_files(source, record))):
        _share(path, tasks / path.name)


def _task_files(folder: str | Path, record: Record) -> Iterator[tuple[Path, str | None]]:
    """The files of the swaps before the run's own, oldest first, and the sha256 that is recorded of each."""
    for swap in record.swaps[:-1]:
        if swap.task is not None:
            yield Path(folder) / FOLDER / swap.task, swap.sha256


def _share(source: Path, target: Path) -> None:
    """Make a file appear in another folder too: as a hard link, or as a copy where there are none."""
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _figures(folder: Path, swap: LineageSwap, step: int) -> dict[int, SlotFigures]:
    """Label -> the figures of a run's new classes at a step; empty where it was not judged, or nobody can read them.

    Of a step that was not judged, as after Ctrl-C, those of the one before it.
    """
    steps: dict[str, Any] = {}
    with contextlib.suppress(RcasError):  # a swap starts without them
        steps = read_metrics(folder).get("steps", {})
    judged = [at for at in steps if int(at) <= step]
    rows = steps[max(judged, key=int)]["labels"] if judged else []
    return {
        row["label"]: SlotFigures(recognised=row["recognised"], frechet_distance=row["frechet_distance"])
        for row in rows
        if row["label"] in swap.slots
    }
