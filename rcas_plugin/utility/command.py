"""`rcas utility`: does what a run generates help a classifier of real images?"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from rcas_plugin.data.folders import image_files, list_folders
from rcas_plugin.data.stock import Stock, as_bytes
from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path, remove_leftovers, write_json
from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.report.page import REPORT, write_report
from rcas_plugin.report.utility import UTILITY, Section, section_of
from rcas_plugin.sampling.run import OpenRun, open_run
from rcas_plugin.utility.experiment import Experiment, stock_of
from rcas_plugin.utility.material import Material, read_material
from rcas_plugin.utility.photographs import PATTERN
from rcas_plugin.utility.summary import summary
from rcas_plugin.utility.trials import AMOUNTS, SIZES, Options
from rcas_plugin.watch.observer import METRICS

#: In the run's folder: the generated images, and a folder of trainings.
FOLDER = "utility"


def add_utility(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas utility` its arguments."""
    command.description = (
        "does it help? train a small classifier on real images, with classical augmentation, with what the run generates, with "
        "both, and on generated images alone; test it on real ones"
    )
    add = command.add_argument
    add("folder", type=Path, metavar="RUN", help="checkpoint folder of a swap; utility.json and utility/ go there")
    add("--data", type=Path, required=True, metavar="DIR", help="the data set: train/<class>/, and valid/<class>/ to test on")
    add("--test", type=Path, default=None, metavar="DIR", help="class folders to test on (default: DATA/valid)")
    add("--new", default=None, metavar="CLASS", help="the class that is to be detected (default: the run's new class)")
    add("--new-data", type=Path, default=None, metavar="DIR", help="its training images, where they are not in --data")
    add("--sizes", type=int, nargs="+", default=None, metavar="N",
        help=f"real images of it (default: those of {' '.join(map(str, SIZES))} that exist, and all of them)")  # fmt: skip
    add("--seeds", type=int, default=3, help="trainings of each row; intervals are over these (default: 3)")
    add("--amounts", type=float, nargs="+", default=list(AMOUNTS), metavar="X",
        help="generated images of a class that are tried, as multiples of a remaining class's real ones (default: "
        f"{' '.join(f'{amount:g}' for amount in AMOUNTS)}); chosen on a held-out part of the training images")  # fmt: skip
    add("--generated", type=int, default=1000, metavar="N", help="the most generated images of a class (default: 1000)")
    add("--generated-of", choices=("every", "new"), default="every",
        help="which are shown: of every class (default), or of the new one alone, which may be told by their look")  # fmt: skip
    add("--steps", type=int, default=300, help="of one training (default: 300)")
    add("--no-flip", action="store_true", help="augment without mirroring, as for letters and digits")
    add("--group", default=PATTERN, metavar="REGEX",
        help="names a file's photograph by its first group, so that crops of one are held out together (default: NNNN of "
        "NNNN_k)")  # fmt: skip
    add("--newest", action="store_true", help="draw from the newest state and not from the best")
    add("--cfg", type=Path, default=None, metavar="FILE", help="the config that trained the run, where none is recorded")
    add("--studiogan", type=Path, default=None, metavar="PATH",
        help="a StudioGAN elsewhere, as STUDIOGAN_ROOT does; by default the submodule")  # fmt: skip
    command.set_defaults(run=utility)


def utility(args: argparse.Namespace) -> int:
    """Compare, print the table, and write utility.json and the report; returns exit code 0, or 130 after Ctrl-C."""
    _check(args)
    run = open_run(args.folder, cfg=args.cfg, studiogan=args.studiogan, step="newest" if args.newest else "best")
    names, new = classes_of(run, args.new)
    material = _material(args, names, new, run.size)
    options = _options(args, material)
    folder = args.folder / FOLDER
    remove_leftovers(args.folder, folder, *folder.glob("*"))
    trials = folder / options.digest(material.fingerprint(), run.checkpoint.sha256)

    def generated() -> Stock:
        return _kept(folder, run, material, options.generated)

    experiment = Experiment(material, options, generated, trials)
    try:
        results, choices = experiment.run()
        copies = experiment.copies()
    except KeyboardInterrupt:
        print(f"\nrcas: {len(list(trials.glob('*.json')))} trainings are kept; the same command goes on")
        return 130
    state = f"{'newest' if args.newest else 'best'} state, step {run.checkpoint.step}"
    found = summary(material, results, choices, saw=material.of_new, state=state, everywhere=options.everywhere, copies=copies)
    write_json(args.folder / UTILITY, found.model_dump(mode="json"))
    print_section(section_of(found))
    print(f"\nrcas: written: {args.folder / UTILITY}")
    if (args.folder / METRICS).is_file():
        print(f"rcas: its report: {write_report([args.folder], args.folder / REPORT)}")
    return 0


def print_section(section: Section) -> None:
    """Print a comparison as a table and sentences."""
    lines = [list(section.heads), *section.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(section.heads))]
    print(f"\n{section.caption}\n")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()
    for sentence in (*section.sentences, *section.remarks):
        print(f"- {sentence}")


def classes_of(run: OpenRun, new: str | None) -> tuple[tuple[str, ...], str]:
    """The classes that the run's generator makes, in the order of their labels, and which of them is to be detected.

    Raises:
        RcasError: nothing records the classes, or none or several of them are new.
    """
    record = run.record
    live = [label for label, name in enumerate(run.labels) if name not in record.dropped]
    names = tuple(str(name) for label in live if (name := run.labels[label]) is not None)
    if len(names) < len(live) or len(names) < 2:
        raise RcasError(f"{run.checkpoint.folder}: nothing records the classes of two labels or more; give a run of this plugin")
    if new is None:
        fresh = [str(run.labels[label]) for label in run.slots]
        if len(fresh) != 1:
            raise RcasError(f"--new is missing; the run has {len(fresh)} new classes, name one of: {', '.join(names)}")
        new = fresh[0]
    if new not in names:
        raise RcasError(f"--new: {new!r} is no class of the run; allowed: {', '.join(names)}")
    return names, new


def drawing(gan: Gan, labels: Sequence[str | None]) -> Any:
    """(class, count) -> uint8 images (count, 3, size, size), others at each call and the same in each process."""
    calls = 0

    def draw(name: str, count: int) -> torch.Tensor:
        nonlocal calls
        calls += 1
        images = sample_images(gan.evaluated, torch.full((count,), list(labels).index(name)), gan.latents, seed=1_000_000 + calls)
        return as_bytes(images)

    return draw


def _check(args: argparse.Namespace) -> None:
    for option, value, least in (("--seeds", args.seeds, 1), ("--steps", args.steps, 1), ("--generated", args.generated, 1),
                                 ("--sizes", min(args.sizes or [2]), 2)):  # fmt: skip
        if value < least:
            raise RcasError(f"{option}: {value} is too few; allowed: {least} or more")
    if min(args.amounts) <= 0:
        raise RcasError(f"--amounts: {min(args.amounts):g} is no amount of images; allowed: over 0")


def _material(args: argparse.Namespace, names: Sequence[str], new: str, size: int) -> Material:
    train = dict(list_folders(args.data / "train").files)
    if args.new_data is not None:
        inside = args.new_data / new
        train[new] = image_files(inside if inside.is_dir() else args.new_data)
    where = args.test or args.data / "valid"
    if not where.is_dir():
        raise RcasError(f"--test: there is no folder {where}; give one with real images to test on, a folder a class")
    test = list_folders(where).files
    picked = [{name: files.get(name, ()) for name in names} for files in (train, test)]
    return read_material(picked[0], picked[1], new, size, args.group)


def _options(args: argparse.Namespace, material: Material) -> Options:
    there = material.of_new
    if there < 2:
        raise RcasError(f"--data: there is {there} training image of {material.classes[material.new]}; two are the fewest")
    wanted = args.sizes or [*(size for size in SIZES if size < there), there]
    if max(wanted) > there:
        raise RcasError(f"--sizes: {max(wanted)} is more than the {there} training images of "
                        f"{material.classes[material.new]}; allowed: 2 to {there}")  # fmt: skip
    return Options(tuple(sorted(set(wanted))), args.seeds, tuple(sorted(set(args.amounts))), args.steps, 64, args.generated,
                   not args.no_flip, args.generated_of == "every", args.group)  # fmt: skip


def _kept(folder: Path, run: OpenRun, material: Material, count: int) -> Stock:
    """The run's generated images, made now or before."""
    about = json.dumps([run.checkpoint.sha256, material.classes, count, material.gray])
    path = folder / f"generated-{hashlib.sha256(about.encode()).hexdigest()[:16]}.safetensors"
    if not path.is_file():
        stock = stock_of(drawing(run.gan, run.labels), material, count)
        with atomic_path(path) as temporary:
            save_file({"images": stock.images, "counts": stock.counts}, temporary)
    kept = load_file(path)
    labels = torch.arange(len(material.classes)).repeat_interleave(kept["counts"])
    return Stock(kept["images"], labels, len(material.classes))
