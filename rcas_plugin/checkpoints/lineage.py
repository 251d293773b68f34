"""The lineage of a run: every swap since its GAN was pre-trained, with the files that bring each state back.

A run's folder holds `tasks/base.safetensors`, the evaluated generator of the pre-trained checkpoint, and one file for each swap
before the run's own, `tasks/task-0001.safetensors` and so on; of the run's own swap, its checkpoint is the state. So the folder
alone has them all, and the folders of the runs before may go. Files are shared with the run before by hard links where the file
system has them. A task holds what differs from the base: after `fine_tune` or `class_swap`, which train all of the generator, it
takes about as much room as the generator.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from rcas_plugin.record import Inheritance, LineageSwap, Record, SlotFigures, read_record
from rcas_plugin.watch.observer import read_metrics
from rcas_plugin.weights.adapters import fold_state

#: In a run's folder: that of the states before it, and in there the pre-trained generator's file.
FOLDER, BASE = "tasks", "base.safetensors"


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
    def routes(self) -> list[Route]:
        """For each label of the run: the state right after the newest swap that made its class, or the base.

        The state of the run itself, which its checkpoint holds, counts as the one behind `states`.

        Raises:
            RcasError: the record contradicts itself.
        """
        restored = self.swaps[-len(self.tasks) - 1 :]
        routes = []
        for name in self.swaps[-1].labels:
            origins = [Route(state, label) for state, swap in enumerate(restored, 1)
                       for label, slot in swap.slots.items() if slot.new == name]  # fmt: skip
            if not origins and name not in restored[0].labels_before:
                raise RcasError(f"rcas.json: its lineage does not say where the class {name!r} comes from; take a whole record")
            routes.append(origins[-1] if origins else Route(0, restored[0].labels_before.index(name)))
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


def check_tasks(folder: str | Path, record: Record) -> None:
    """Raise `RcasError` where a swap cannot start from a run because of a file in its `tasks/`; nothing is written.

    Without that folder there is nothing to check: a swap from there begins a base of its own.
    """
    if (Path(folder) / FOLDER).is_dir() and record.swaps:
        check_file(Path(folder) / FOLDER / BASE, record.base_sha256)
        for path, sha256 in _task_files(folder, record):
            check_file(path, sha256)


def inherit(checkpoint: Checkpoint, folder: str | Path) -> Inheritance:
    """Write `tasks/` into the folder of a swap that starts; returns the lineage's part of its record (for `swap_record`).

    The process that writes files calls it, once. From a pre-trained checkpoint it writes the base alone. From a swap it links
    what that run has, and writes that run's own swap as the newest task. Where that run has no `tasks/`, since it is of an
    earlier version or the user has deleted them, the source itself is the base, and states before it cannot be brought back.

    Args:
        checkpoint: that the swap starts from, read from a folder, adapters and all.
        folder: of the swap that starts.

    Raises:
        RcasError: see `check_tasks`.
    """
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
    return Inheritance((*earlier, newest.model_copy(update={"task": name, "sha256": sha256})), record.base_sha256)


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
    for path in (source_tasks / BASE, *(path for path, _ in _task_files(source, record))):
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
