"""One task of a lineage as a plain StudioGAN checkpoint, which any StudioGAN loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import write_checkpoint
from rcas_plugin.checkpoints.lineage import DISCRIMINATOR, FOLDER, Lineage, read_lineage
from rcas_plugin.checkpoints.tasks import read_tensors
from rcas_plugin.errors import RcasError
from rcas_plugin.record import LineageSwap, plain_record, write_record
from rcas_plugin.studiogan.folding import plain_content, without_moments
from rcas_plugin.weights.adapters import is_plain


@dataclass(frozen=True)
class Exported:
    """A task that was written as a checkpoint of its own.

    Attributes:
        files: their names.
        right: label -> class, for the labels that its generator makes as the lineage does.
        wrong: label -> class, for those that it does not.
        unused: label -> class, for those that have no images in the run, or had none yet at that task: in neither of the others.
    """

    files: tuple[str, ...]
    right: Mapping[int, str]
    wrong: Mapping[int, str]
    unused: Mapping[int, str]


def export_task(folder: str | Path, number: int, out: str | Path, *, best: bool = False) -> Exported:
    """Write one task's generator into a folder of its own, as a plain checkpoint; the run is only read.

    The discriminator is the run's own for its own task; of earlier tasks none is kept, and the base's stands there.

    Args:
        folder: of the run.
        number: of the task, from 1; 0 for the base.
        out: a folder without a checkpoint in it.
        best: take the run's best checkpoint, and not the newest.

    Raises:
        RcasError: there is no such task, no discriminator of as many labels, or `out` holds something; or see `read_lineage`.
    """
    lineage, checkpoint, target = read_lineage(folder), Checkpoint.read(folder, best=best), Path(out)
    if not 0 <= number <= len(lineage.tasks) + 1:
        raise RcasError(f"--task: {number} is no task of {folder}; allowed: 0 (the base) to {len(lineage.tasks) + 1}")
    if target.is_dir() and any(target.iterdir()):
        raise RcasError(f"-o: {target} holds files; name a folder of its own")
    labels, right = labels_of(lineage, number)
    own = number > len(lineage.tasks)
    generator = checkpoint.folded.states["ema"] if own else lineage.states[number]
    discriminator = checkpoint.folded.states["discriminator"] if own else _discriminator(lineage, number, checkpoint)
    for network, content in checkpoint.contents.items():
        state = discriminator if network == "D" else generator
        plain = {**_plain(content, checkpoint, network, target), "state_dict": dict(state)}
        for when in ("current", "best"):
            write_checkpoint(target, network, when, checkpoint.step, plain)
    unused = unused_in(lineage, number) | {label for label, name in enumerate(labels) if name in checkpoint.record.dropped}
    about = {
        "config": checkpoint.record.config,
        "embedded": checkpoint.record.embedded,
        "unused": sorted(unused),
        "folded_from": str(Path(folder).resolve()),
    }
    write_record(target, {**plain_record(labels), **about})
    return Exported(
        tuple(sorted(path.name for path in target.iterdir())),
        {label: labels[label] for label in sorted(right - unused)},
        {label: name for label, name in enumerate(labels) if label not in right | unused},
        {label: labels[label] for label in sorted(unused)},
    )


def _plain(content: Mapping[str, Any], checkpoint: Checkpoint, network: str, out: Path) -> dict[str, Any]:
    """A file's content with an optimiser that starts anew."""
    if not is_plain(content["state_dict"]):
        return plain_content(content, checkpoint.record, network, out)
    return without_moments(content)


def _restored(lineage: Lineage) -> Sequence[LineageSwap]:
    """The swaps whose states come back: swap `number - 1` leads to state `number`."""
    return lineage.swaps[-len(lineage.tasks) - 1 :]


def labels_of(lineage: Lineage, number: int) -> tuple[tuple[str, ...], set[int]]:
    """The class behind each label of a state, and the labels that it makes as the lineage does."""
    restored = _restored(lineage)
    labels = restored[number - 1].labels if number else restored[0].labels_before
    if number > lineage.anchor and restored[number - 1].apart:
        return labels, set(restored[number - 1].slots)
    return labels, set(range(len(labels)))


def unused_in(lineage: Lineage, number: int) -> set[int]:
    """The labels of a state that had no images yet: what the next swap recorded, or else what later swaps filled at first.

    A swap that fills a label of a widened checkpoint under the label's own name has no old class, and changes no name.
    """
    later = _restored(lineage)[number:]
    if later and later[0].unused is not None:
        return set(later[0].unused)
    labels, _ = labels_of(lineage, number)
    filled = {slot.new for swap in later for label, slot in swap.slots.items()
              if slot.old is None and swap.labels_before[label : label + 1] == (slot.new,)}  # fmt: skip
    return {label for label, name in enumerate(labels) if name in filled}


def _discriminator(lineage: Lineage, number: int, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """The base's discriminator where it is kept, else the run's own.

    Raises:
        RcasError: it has another number of labels than the state; StudioGAN loads no generator beside such a one.
    """
    kept, count = checkpoint.record.discriminator_sha256, len(labels_of(lineage, number)[0])
    labels = labels_of(lineage, len(lineage.tasks) + 1 if kept is None else lineage.anchor)[0]
    if len(labels) != count:
        file = _restored(lineage)[number - 1].task if number else None
        raise RcasError(
            f"--task: state {number} has {count} labels, and the discriminator that is kept has {len(labels)}; "
            f"write the generator alone by rcas export, with --task {f'and the number in {file}' if file else 'base'}"
        )
    if kept is None:
        return checkpoint.folded.states["discriminator"]
    assert checkpoint.folder is not None
    return read_tensors(checkpoint.folder / FOLDER / DISCRIMINATOR, kept)[0]
