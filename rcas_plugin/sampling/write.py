"""The folder of generated images: begun, gone on with after an interruption, and finished, by one process or several."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import sys
import time
import warnings
from collections.abc import Generator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path, remove_leftovers, write_json
from rcas_plugin.gan import device_of
from rcas_plugin.report.pictures import draw_before_after
from rcas_plugin.sampling.batches import generate_batch, pictures
from rcas_plugin.sampling.plan import Batch, SamplePlan
from rcas_plugin.sampling.run import OpenRun
from rcas_plugin.watch.snapshots import images_of

MANIFEST, SHEET = "manifest.json", "contact_sheet.png"
#: Of each class, and classes, on the contact sheet.
_SHOWN, _ROWS = 12, 40
#: What differs between a folder that is begun, one that is finished, and one of more images.
_COUNTED = ("complete", "files", "classes")


@dataclass(frozen=True)
class Written:
    """What was done: images that were there before, images made now, the seconds that took, and by how many processes."""

    before: int
    made: int
    seconds: float
    processes: int

    @property
    def rate(self) -> float:
        """Images a second; 0 where none was made."""
        return self.made / self.seconds if self.made else 0.0


def write_samples(
    opened: OpenRun, plan: SamplePlan, out: Path, *, processes: int = 1, force: bool = False, progress: bool = True
) -> Written:
    """Write the images of a plan to `out/CLASS/NNNN.png`, with a manifest and a contact sheet beside the class folders.

    Each file is whole or not there. Where the folder holds a part of the very same images, the rest is made.

    Args:
        opened: the run.
        plan: what is made.
        out: a folder of its own.
        processes: that make images; on a GPU one does.
        force: write into a folder that holds other files; those of the plan's names are removed first, and others stay.
        progress: show a bar.

    Raises:
        RcasError: the folder holds something else; or a process died.
    """
    manifest = plan.manifest(opened)
    remove_leftovers(out, *(out / share.folder for share in plan.shares))
    if not _goes_on(out, manifest):
        _begin(out, manifest, force=force)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / MANIFEST, manifest)
    missing = {batch: [name for name in plan.names(batch) if not (out / name).exists()] for batch in plan.batches}
    work = [(batch, names) for batch, names in missing.items() if names]
    count = sum(len(names) for _, names in work)
    processes = max(1, min(processes, len(work))) if can_fork(opened) else 1
    for state in dict.fromkeys(batch.share.state for batch, _ in work):
        opened.generator_of(state)  # built once, before the processes part
    started = time.perf_counter()
    bar = tqdm(
        total=len(manifest["files"]), initial=len(manifest["files"]) - count, desc="images", unit="image",
        disable=None if progress else True,
    )  # fmt: skip
    with bar, contextlib.closing(_made(opened, plan, out, work, processes)) as batches:
        for made in batches:
            bar.update(made)
    seconds = time.perf_counter() - started
    _draw_sheet(out / SHEET, plan, out)
    write_json(out / MANIFEST, {**manifest, "complete": True})
    return Written(len(manifest["files"]) - count, count, seconds, processes)


# the folder ------------------------------------------------------------------------------------------------------------------


def _goes_on(out: Path, manifest: Mapping[str, Any]) -> bool:
    """True where a folder holds a part of the images that a manifest lists, or all of them."""
    try:
        earlier = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        alike = all(earlier[key] == value for key, value in manifest.items() if key not in _COUNTED)
        names, earlier_names = ({entry["file"] for entry in one["files"]} for one in (manifest, earlier))
        classes = [[{**entry, "images": 0} for entry in one["classes"]] for one in (manifest, earlier)]
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return alike and classes[0] == classes[1] and earlier_names <= names


def _begin(out: Path, manifest: Mapping[str, Any], *, force: bool) -> None:
    """Take a folder for new images; raises `RcasError` where it holds anything, unless that is wanted."""
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        raise RcasError(f"-o: {out} holds other files; name another folder, or write into it with --force")
    for name in (MANIFEST, *(entry["file"] for entry in manifest["files"])):
        (out / name).unlink(missing_ok=True)


def _draw_sheet(path: Path, plan: SamplePlan, out: Path) -> None:
    """Draw the first images of each class, as they were written."""
    rows, images, labels = {}, [], []
    for row, share in enumerate(plan.shares[:_ROWS]):
        rows[row] = share.folder
        for index in range(min(_SHOWN, plan.images)):
            with Image.open(out / share.folder / f"{index:04d}.png") as picture:
                images.append(np.asarray(picture.convert("RGB")))
            labels.append(row)
    cells = min(_SHOWN, plan.images)
    draw_before_after(path, {"": (images_of(np.stack(images)), torch.tensor(labels))}, rows, per_cell=cells)


# the images ------------------------------------------------------------------------------------------------------------------


def write_batch(opened: OpenRun, plan: SamplePlan, out: Path, batch: Batch, names: list[str]) -> int:
    """Make a batch, and write those of its images that are named; returns how many."""
    generator = opened.generator_of(batch.share.state)
    z_dim = int(opened.config["MODEL"].get("z_dim", 128))
    images = generate_batch(
        opened.gan, generator, batch.share.label, plan.batch, batch.seed, z_dim=z_dim, truncation=plan.truncation
    )
    wanted = set(names)
    for name, picture in zip(plan.names(batch), pictures(images[: batch.wanted], gray=plan.gray, size=plan.size), strict=True):
        if name in wanted:
            with atomic_path(out / name) as temporary:
                picture.save(temporary, format="PNG")
    return len(names)


def _made(
    opened: OpenRun, plan: SamplePlan, out: Path, work: list[tuple[Batch, list[str]]], processes: int
) -> Generator[int, None, None]:
    """The numbers of images of each batch as it is written."""
    if processes == 1:
        for batch, names in work:
            yield write_batch(opened, plan, out, batch, names)
        return
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), initializer=_start, initargs=(opened, plan, out))
    try:
        with warnings.catch_warnings():
            # torch's idle threads count as such to Python; the children start none, as PyTorch's own data loaders do
            warnings.simplefilter("ignore", DeprecationWarning)
            tasks = [pool.submit(_work, batch, names) for batch, names in work]
        for task in as_completed(tasks):
            yield task.result()
    except BrokenProcessPool:
        raise RcasError(
            "a process that made images died, as where memory ends; the same command goes on, with fewer --processes"
        ) from None
    finally:  # on Ctrl-C too: what a process is writing is finished first
        pool.shutdown(wait=True, cancel_futures=True)


def can_fork(opened: OpenRun) -> bool:
    """True where several processes can share the networks of this one: on Linux, without a GPU."""
    return sys.platform == "linux" and device_of(opened.gan.evaluated).type == "cpu"


#: What a process that makes images has from the one that started it.
_SHARED: list[tuple[OpenRun, SamplePlan, Path]] = []


def _start(opened: OpenRun, plan: SamplePlan, out: Path) -> None:
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    torch.set_num_threads(1)
    _SHARED[:] = [(opened, plan, out)]


def _work(batch: Batch, names: list[str]) -> int:
    return write_batch(*_SHARED[0], batch, names)
