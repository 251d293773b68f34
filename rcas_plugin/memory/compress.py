"""A run of gan_memory whose own task takes fewer numbers: its styles in factors, those of the tasks before used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcas_plugin.checkpoints.best import kept_step
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import holds_best_alone, write_checkpoint
from rcas_plugin.checkpoints.lineage import read_lineage, share_tasks
from rcas_plugin.checkpoints.tasks import Task
from rcas_plugin.errors import RcasError
from rcas_plugin.methods.gan_memory.adapter import STYLE, Style
from rcas_plugin.methods.gan_memory.low_rank import LowRankStyle, energy_of
from rcas_plugin.record import Record, write_record
from rcas_plugin.studiogan.folding import without_moments
from rcas_plugin.weights.adapters import adapted, parts_of, with_adapter


@dataclass(frozen=True)
class Compressed:
    """How many numbers a task's styles take.

    Attributes:
        before: of all convolutions' styles.
        after: of the same, those in factors and those that stayed whole.
        layers: convolutions with a style.
        in_factors: how many of them are in factors.
    """

    before: int
    after: int
    layers: int
    in_factors: int


def compress_run(folder: str | Path, out: str | Path, energy: float | None = None) -> Compressed:
    """Write a run with its own task in factors into a folder of its own: checkpoints, record, and the tasks before.

    The evaluated generator's styles are taken apart, and stand for G as well. A style stays whole where factors would take more
    numbers. What comes out is a run like any other: it is looked at, sampled, listed and swapped again likewise.

    Args:
        folder: of a run of gan_memory, which is only read.
        out: a folder without files.
        energy: the part of each style that is kept, over 0, to 1; by default by the number of its rows (`energy_of`).

    Returns:
        What became smaller, of the newest checkpoint.

    Raises:
        RcasError: the run is no run of gan_memory, is in factors already, a file of it is damaged, or `out` holds files. Nothing
            has been written then.
    """
    target, record, lineage = Path(out), Checkpoint.read(folder).record, read_lineage(folder)
    if energy is not None and not 0 < energy <= 1:
        raise RcasError(f"--energy: {energy} is not allowed; allowed: over 0, to 1")
    if target.is_dir() and any(target.iterdir()):
        raise RcasError(f"-o: {target} holds files; name a folder of its own")
    # all are read, and can be compressed, before the first is written
    checkpoints = _checkpoints(folder)
    made = {when: compressed_state(kept.states["ema"], lineage.tasks, energy) for when, kept in checkpoints.items()}
    if not all(compressed.layers for _, compressed in made.values()):
        raise RcasError(f"-ckpt: {folder} holds no style of gan_memory; allowed: a run of it that is not in factors yet")
    for when, checkpoint in checkpoints.items():
        for network, content in checkpoint.contents.items():
            plain = content if network == "D" else without_moments({**content, "state_dict": made[when][0]})
            write_checkpoint(target, network, when, checkpoint.step, plain)
    _, newest = made["best" if "current" not in made else "current"]
    share_tasks(folder, target, record)
    write_record(target, _recorded(record, newest, Path(folder), energy))
    return newest


def _checkpoints(folder: str | Path) -> dict[str, Checkpoint]:
    """The newest checkpoint of a run, and the best where there is one: `current`, `best`."""
    newest = {} if holds_best_alone(folder) else {"current": Checkpoint.read(folder)}
    if newest and kept_step(folder) is None:  # a run that was interrupted before its first save as best
        return newest
    return {**newest, "best": Checkpoint.read(folder, best=True)}


def compressed_state(state: Mapping[str, Any], tasks: Sequence[Task], energy: float | None) -> tuple[dict[str, Any], Compressed]:
    """A generator's state dict with its convolutions' styles in factors, and what that saves.

    Args:
        state: of the generator, adapters and all.
        tasks: those before, oldest first.
        energy: as `compress_run`'s.
    """
    made, before, after, layers, in_factors = dict(state), 0, 0, 0, 0
    for name, adapter in adapted(state).items():
        table, parts = parts_of(state, name)
        if adapter != STYLE or table.ndim < 4:
            continue
        part = energy_of(len(table)) if energy is None else energy
        earlier = [task.parts(name) for task in tasks if name in task.adapters]
        low_rank = LowRankStyle.of(Style.rebuild(parts), part, earlier)
        whole = parts["gamma"].numel() + parts["beta"].numel()
        numbers = sum(parameter.numel() for parameter in low_rank.parameters())
        layers, before = layers + 1, before + whole
        if numbers < whole:
            made, in_factors = with_adapter(made, name, low_rank), in_factors + 1
        after += min(numbers, whole)
    return made, Compressed(before, after, layers, in_factors)


def _recorded(record: Record, compressed: Compressed, folder: Path, energy: float | None) -> dict[str, Any]:
    """The run's record, with the numbers that its task has now."""
    kept = record.model_dump(mode="json", exclude_unset=True)
    counts = dict(record.parameters)
    if "generator" in counts:
        counts["generator"] -= compressed.before - compressed.after
    method = {**record.method, "parameters": counts, "compressed_from": str(folder.resolve()), "energy": energy}
    return {**kept, "method": method}
