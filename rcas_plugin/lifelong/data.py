"""The images of each task: a folder of links to its classes alone, and the same images in memory."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rcas_plugin.data.folders import list_folders
from rcas_plugin.data.stock import Stock
from rcas_plugin.embedded.data import read_bytes
from rcas_plugin.errors import RcasError
from rcas_plugin.lifelong.plan import Plan

#: The folders of a data set: what is trained on, and what is tested on.
PARTS = ("train", "valid")


@dataclass(frozen=True)
class Images:
    """Real images of all tasks as bytes.

    Attributes:
        train: of each task: (n, 3, size, size), with the places of their classes (n,) among all classes.
        test: likewise.
        classes: how many there are in all tasks.
    """

    train: tuple[tuple[Tensor, Tensor], ...]
    test: tuple[tuple[Tensor, Tensor], ...]
    classes: int

    def of(self, tasks: Sequence[int]) -> Stock:
        """The training images of some tasks together."""
        images, labels = (torch.cat(parts) for parts in zip(*(self.train[task] for task in tasks), strict=True))
        return Stock(images, labels, self.classes)


def check_data(plan: Plan) -> dict[str, dict[str, int]]:
    """`train` and `valid` -> the number of images of each class.

    Raises:
        RcasError: a class has no images in one of the parts.
    """
    counts: dict[str, dict[str, int]] = {}
    for part in PARTS:
        folder = Path(plan.data) / part
        if not folder.is_dir():
            raise RcasError(f"data: there is no folder {folder}; give one with train/<class>/ and valid/<class>/")
        listed = list_folders(folder).counts
        for name in plan.classes:
            if not listed.get(name):
                raise RcasError(f"tasks: the class {name!r} has no images in {folder}; allowed: {', '.join(sorted(listed))}")
        counts[part] = {name: listed[name] for name in plan.classes}
    return counts


def link_task(plan: Plan, task: int, folder: Path) -> Path:
    """A folder with links to the class folders of one task alone, as every reader of class folders takes it; made anew."""
    _remove_links(folder)  # of a plan that was refused, whose tasks may have had other classes
    for part in PARTS:
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name in plan.tasks[task]:
            link = folder / part / name
            link.symlink_to(Path(plan.data) / part / name, target_is_directory=True)
    return folder


def read_data(plan: Plan, folder: Path) -> tuple[tuple[Path, ...], Images]:
    """A folder of links for each task, and the images of all.

    Args:
        plan: says where the data set lies.
        folder: that the tasks' folders go into.

    Raises:
        RcasError: an image cannot be used; the folders of links are gone then.
    """
    folders = tuple(folder / str(task) for task in range(len(plan.tasks)))
    try:
        for task, of_task in enumerate(folders):
            link_task(plan, task, of_task)
        return folders, read_tasks(plan, folders)
    except RcasError:
        for of_task in folders:
            _remove_links(of_task)
        for emptied in (*folders, folder, folder.parent):
            with contextlib.suppress(OSError):  # what holds anything else stays
                emptied.rmdir()
        raise


def _remove_links(folder: Path) -> None:
    """Remove a task's links, and the folders that are empty then; nothing but links is removed."""
    for part in PARTS:
        for link in (folder / part).glob("*"):
            if link.is_symlink():
                link.unlink()
        with contextlib.suppress(OSError):
            (folder / part).rmdir()


def read_tasks(plan: Plan, folders: Sequence[Path]) -> Images:
    """Read the images of every task from its folder of links, the centre square of each, resized to `plan.size`."""
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {part: [] for part in PARTS}
    for folder in folders:
        for part in PARTS:
            images, targets, names = read_bytes(folder / part, plan.size)
            places = torch.tensor([plan.classes.index(name) for name in names.names])
            parts[part].append((images, places[targets]))
    return Images(tuple(parts["train"]), tuple(parts["valid"]), len(plan.classes))
