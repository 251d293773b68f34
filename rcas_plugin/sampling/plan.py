"""What `rcas sample` is about to write: which images of which labels under which names, and the manifest that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from rcas_plugin.checkpoints.lineage import BASE, FOLDER
from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name, safe_stem
from rcas_plugin.gan import device_of
from rcas_plugin.labels import label_of, reference_of
from rcas_plugin.sampling.batches import batch_seed, batch_size
from rcas_plugin.sampling.run import OpenRun

#: What all labels are called.
ALL = "all"


@dataclass(frozen=True)
class Share:
    """The images of one class.

    Attributes:
        name: of the class; None where nothing records it.
        label: that the generator makes it under.
        state: of the generator: its place in the run's `lineage.states`, or None for the run's own checkpoint.
    """

    name: str | None
    label: int
    state: int | None = None

    @property
    def folder(self) -> str:
        """The name of its folder: the class's, where that is a name and no path."""
        if self.name is None:
            return f"label-{self.label}"
        return self.name if is_plain_name(self.name) and not self.name.startswith(".") else safe_stem(self.name)


@dataclass(frozen=True)
class Batch:
    """A batch of a share: its number, its seed, and how many of its images are wanted."""

    share: Share
    number: int
    seed: int
    wanted: int


@dataclass(frozen=True)
class SamplePlan:
    """All that decides what is written.

    Attributes:
        shares: the classes.
        images: of each class.
        seed: of everything that is drawn.
        truncation: of the latents, or None.
        gray: whether pictures have one channel.
        size: pixels of an edge that pictures are resized to; None for the generator's own.
        batch: images of a batch.
    """

    shares: tuple[Share, ...]
    images: int
    seed: int
    truncation: float | None
    gray: bool
    size: int | None
    batch: int

    @classmethod
    def of(cls, opened: OpenRun, shares: Sequence[Share], images: int, seed: int, truncation: float | None, gray: bool,
           size: int | None) -> SamplePlan:  # fmt: skip
        """The plan for a run; raises `RcasError` for numbers that are no numbers of images, seeds or pixels."""
        for option, value, least in (("--images", images, 1), ("--seed", seed, 0), ("--size", size or 1, 1)):
            if value < least:
                raise RcasError(f"{option} is {value}; allowed: {least} or more")
        folders = [share.folder for share in shares]
        if twice := next((folder for place, folder in enumerate(folders) if folder in folders[:place]), None):
            raise RcasError(f"--labels: {twice!r} is named twice; name each class once")
        size = None if size == opened.size else size
        return cls(tuple(shares), images, seed, truncation, gray, size, batch_size(opened.size))

    @property
    def batches(self) -> list[Batch]:
        """Every batch, class by class."""
        starts = range(0, self.images, self.batch)
        return [
            Batch(share, number, batch_seed(self.seed, share.label, number), min(self.batch, self.images - start))
            for share in self.shares
            for number, start in enumerate(starts)
        ]

    def names(self, batch: Batch) -> list[str]:
        """The files of a batch, relative to the folder that is written: `CLASS/NNNN.png`."""
        first = batch.number * self.batch
        return [f"{batch.share.folder}/{index:04d}.png" for index in range(first, first + batch.wanted)]

    def manifest(self, opened: OpenRun) -> dict[str, Any]:
        """What is written beside the images; everything but `complete` is known beforehand."""
        source, side = opened.checkpoint, self.size or opened.size
        files = [
            {"file": name, "label": batch.share.label, "class": batch.share.name, "seed": batch.seed, "row": row}
            for batch in self.batches
            for row, name in enumerate(self.names(batch))
        ]
        return {
            "complete": False,
            "run": source.folder.resolve().name,
            "checkpoint": {"file": source.path.name, "sha256": source.sha256, "step": source.step},
            "seed": self.seed,
            "truncation": self.truncation,
            "batch_size": self.batch,
            "size": [side, side],
            "channels": 1 if self.gray else 3,
            "device": device_of(opened.gan.evaluated).type,
            "networks": "embedded" if opened.builder.studiogan is None else "StudioGAN",
            "rcas_plugin": version("rcas-plugin"),
            "torch": torch.__version__,
            "classes": [
                {"class": share.name, "folder": share.folder, "label": share.label, "state": state_file(opened, share.state),
                 "images": self.images}
                for share in self.shares
            ],
            "files": files,
        }  # fmt: skip


def state_file(opened: OpenRun, state: int | None) -> dict[str, Any] | None:
    """The file of an earlier state, with the sha256 that the run records of it; None for the run's own checkpoint."""
    if state is None:
        return None
    if state == 0:
        return {"file": f"{FOLDER}/{BASE}", "sha256": opened.record.base_sha256}
    swap = opened.kept[state - 1]
    return {"file": f"{FOLDER}/{swap.task}", "sha256": swap.sha256}


# which classes ---------------------------------------------------------------------------------------------------------------


def choose_shares(opened: OpenRun, wanted: Sequence[str] | None, *, task: str | None = None, routed: bool = False) -> list[Share]:
    """The classes that are asked for, each with its label and the state that makes it.

    Args:
        opened: the run.
        wanted: class names or labels; by default the new classes of the run (or of the task), or all where there are none.
            A class that a later swap has replaced is made by the newest state that had it.
        task: an earlier state: `base`, or the number of a file in `tasks/`.
        routed: make each class by the state right after the swap that made it, as `checkpoints.router` does.

    Raises:
        RcasError: there is no such class, label or task.
    """
    if routed and task is not None:
        raise RcasError("--router and --task exclude each other; a task is one state of the generator, the router takes several")
    state = None if task is None else state_of(opened, task)
    names = opened.labels_of(state)
    shares = [Share(name, label, state) for label, name in enumerate(names)]
    if wanted is None:
        chosen = [shares[label] for label in opened.slots_of(state)] or _alive(opened, shares, state)
    elif list(wanted) == [ALL] and ALL not in names:
        chosen = _alive(opened, shares, state)
    else:
        chosen = [_share(opened, text, shares, former=task is None) for text in wanted]
    return [_routed(opened, share) for share in chosen] if routed else chosen


def _alive(opened: OpenRun, shares: list[Share], state: int | None) -> list[Share]:
    """The labels that had images in training."""
    dropped = opened.record.dropped if state is None else frozenset()
    return [share for share in shares if share.name is None or share.name not in dropped]


def _share(opened: OpenRun, text: str, shares: Sequence[Share], *, former: bool) -> Share:
    names = [share.name if share.name is not None else "" for share in shares]
    earlier = _earlier(opened) if former else {}
    if text not in names and text in earlier:  # a name before a number: digits are classes too
        return earlier[text]
    label = label_of(reference_of(text, names), names) if text else None
    if label is not None:
        return shares[label]
    known = [name for name in dict.fromkeys([*names, *earlier]) if name]
    more = f", or a class of: {', '.join(known)}" if known else "; no record says the classes' names"
    raise RcasError(f"--labels: {text} is no class of this run; allowed: 0 to {len(shares) - 1}{more}")


def _earlier(opened: OpenRun) -> dict[str, Share]:
    """Classes of the earlier states that the run's folder keeps, each with the newest state that had it."""
    return {
        name: Share(name, label, state)
        for state in _states(opened)
        for label, name in enumerate(opened.labels_of(state))
        if name is not None
    }


def _routed(opened: OpenRun, share: Share) -> Share:
    if share.state is not None:
        return share  # no class of the run any more
    route = opened.lineage.routes[share.label]
    return share if route.state > len(opened.kept) else Share(share.name, route.label, route.state)


def _states(opened: OpenRun) -> range:
    """The earlier states that the run's folder keeps; none where it has no `tasks/`."""
    there = (opened.checkpoint.folder / FOLDER).is_dir() and opened.record.swaps
    return range(len(opened.kept) + 1) if there else range(0)


def state_of(opened: OpenRun, task: str) -> int:
    """The place in `lineage.states` of `base`, or of the number of a file in `tasks/`."""
    if not _states(opened):
        raise RcasError(f"--task: {opened.checkpoint.folder} keeps no earlier states ({FOLDER}/); leave the option out")
    tasks = {str(swap.task).removesuffix(".safetensors"): state for state, swap in enumerate(opened.kept, 1)}
    numbers = {"base": 0} | {name.removeprefix("task-").lstrip("0"): state for name, state in tasks.items()}
    state = (tasks | numbers).get(task)
    if state is None:
        raise RcasError(f"--task: {task} is none of {opened.checkpoint.folder / FOLDER}; allowed: {', '.join(numbers)}")
    return state
