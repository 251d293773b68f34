"""The tasks of a run's lineage and their sizes, from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.lineage import BASE, FOLDER, read_lineage
from rcas_plugin.checkpoints.tasks import task_of


@dataclass(frozen=True)
class TaskSize:
    """One task of a lineage.

    Attributes:
        number: from 1, oldest first.
        file: its name in `tasks/`; None for the run's own, which its checkpoint holds.
        method: `RCAS.method` of its swap.
        classes: label -> its class in the task.
        steps: of its swap; None where that is not known.
        parameters: that were trained for it in G; where its method records none, the numbers that differ from the base.
        bytes: of its tensors.
        apart: whether its state is right for its own labels alone.
    """

    number: int
    file: str | None
    method: str
    classes: dict[int, str]
    steps: int | None
    parameters: int
    bytes: int
    apart: bool


@dataclass(frozen=True)
class TaskList:
    """The tasks of a run's lineage.

    Attributes:
        run: the name of its folder.
        base_parameters: of the base, the state that the first task is held against; its numbers where its method counts none.
        base_bytes: of the base's tensors.
        tasks: oldest first; the last is the run's own.
    """

    run: str
    base_parameters: int
    base_bytes: int
    tasks: tuple[TaskSize, ...]

    def as_dict(self) -> dict[str, Any]:
        """The list as JSON has it."""
        return asdict(self)

    @property
    def lines(self) -> list[str]:
        """The list as a table, and what it comes to."""
        head = ("task", "method", "classes", "steps", "parameters", "of the base", "bytes", "file")
        base = ("0", "the base", "", "", f"{self.base_parameters:,}", "100.0%", f"{self.base_bytes:,}", f"{FOLDER}/{BASE}")
        rows = [head, base, *map(self._row, self.tasks)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        numbers = {3, 4, 5, 6}
        lines = [
            "  ".join(
                text.rjust(width) if column in numbers else text.ljust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        whole, added = self.base_bytes * (len(self.tasks) + 1), self.base_bytes + sum(task.bytes for task in self.tasks)
        return [*lines, f"base and tasks take {added:,} bytes; a generator a task would take {whole:,}"]

    def _row(self, task: TaskSize) -> tuple[str, ...]:
        classes = ", ".join(f"{label}: {name}" for label, name in task.classes.items())
        steps = "" if task.steps is None else f"{task.steps:,}"
        file = "the run's checkpoint" if task.file is None else f"{FOLDER}/{task.file}"
        part = f"{task.parameters / self.base_parameters:.1%}"
        return (str(task.number), task.method, classes, steps, f"{task.parameters:,}", part, f"{task.bytes:,}", file)


def list_tasks(folder: str | Path, *, best: bool = False) -> TaskList:
    """The tasks of a run's lineage that can be brought back.

    Args:
        folder: of the run.
        best: take the run's best checkpoint as its own task, and not the newest.

    Raises:
        RcasError: see `checkpoints.lineage.read_lineage`.
    """
    lineage, checkpoint = read_lineage(folder), Checkpoint.read(folder, best=best)
    kept = len(lineage.tasks)
    newest = task_of(checkpoint.states["ema"], lineage.base, lineage.swaps[-1].slots.keys(), lineage.swaps[-1].method)
    sizes = []
    for number, (swap, task) in enumerate(zip(lineage.swaps[-kept - 1 :], (*lineage.tasks, newest), strict=True), 1):
        own = number > kept
        trained = checkpoint.record.parameters.get("generator") if own else swap.parameters
        sizes.append(TaskSize(
            number, None if own else swap.task, swap.method, {label: slot.new for label, slot in sorted(swap.slots.items())},
            checkpoint.step if own else swap.steps, _numbers(task.tensors) if trained is None else trained,
            sum(tensor.nbytes for tensor in task.tensors.values()), swap.apart,
        ))  # fmt: skip
    base = checkpoint.record.parameters.get("base") or _numbers(lineage.base)
    size = sum(tensor.nbytes for tensor in lineage.base.values())
    return TaskList(Path(folder).resolve().name, base, size, tuple(sizes))


def _numbers(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors.values() if tensor.is_floating_point())
