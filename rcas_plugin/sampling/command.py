"""`rcas sample` and `rcas export`: images, and the generator itself, out of a run."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rcas_plugin.errors import RcasError
from rcas_plugin.sampling.batches import check_truncation
from rcas_plugin.sampling.export import export_generator
from rcas_plugin.sampling.plan import SamplePlan, choose_shares, state_of
from rcas_plugin.sampling.run import OpenRun, open_run
from rcas_plugin.sampling.write import MANIFEST, SHEET, write_samples
from rcas_plugin.studiogan.locate import add_studiogan

#: `--size` for that of the training images.
ORIGINAL = "original"


def add_sample(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas sample` its arguments."""
    more = "The same command goes on after Ctrl-C, and gives the same images on any number of processes."
    command.description = f"{command.description}. {more}"
    add = command.add_argument
    _add_run(command)
    add(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder for OUT/CLASS/NNNN.png, manifest.json, contact_sheet.png",
    )
    add("--labels", nargs="+", default=None, metavar="CLASS",
        help="classes by name or label, or all (default: the new ones); replaced ones too, where the run keeps them")  # fmt: skip
    add("--images", type=int, default=100, metavar="N", help="of each class (default: 100)")
    add("--seed", type=int, default=0, help="of the latents (default: 0)")
    add("--truncation", type=float, default=None, metavar="T", help="StudioGAN's truncation factor: of gaussian latents over 0, "
        "of StyleGAN 0 to 1; less is nearer to the average image (default: none)")  # fmt: skip
    colours = command.add_mutually_exclusive_group()
    colours.add_argument("--gray", action="store_const", const=True, default=None, dest="gray",
                         help="one channel (default: where the data were gray)")  # fmt: skip
    colours.add_argument("--rgb", action="store_const", const=False, dest="gray", help="three channels")
    add("--size", default=None, metavar="PIXELS", help="of an edge, or `original`: of the training images' centre squares "
        "(default: the GAN's own size)")  # fmt: skip
    add("--router", action="store_true", help="each class as the swap that made it left it, where the run keeps earlier states")
    add("--processes", type=int, default=None, metavar="N", help="that make images (default: one a core; on a GPU one)")
    add("--force", action="store_true", help="write into a folder that holds other files; those of the same names are replaced")
    command.set_defaults(run=sample)


def add_export(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas export` its arguments."""
    _add_run(command)
    command.add_argument("-o", "--out", type=Path, required=True, metavar="FILE",
                         help="NAME.onnx (inputs z and label, output images), or NAME.safetensors")  # fmt: skip
    command.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    """Export a run's generator; returns 0."""
    opened = open_named(args)
    state = None if args.task is None else state_of(opened, args.task)
    export_generator(opened, args.out, state)
    names = [f"{label} {name or 'of no known name'}" for label, name in enumerate(opened.labels_of(state))]
    print(f"rcas: {args.out}: the generator of {opened.checkpoint.folder.resolve().name}, step {opened.checkpoint.step}\n"
          f"rcas: labels: {', '.join(names)}")  # fmt: skip
    return 0


def _add_run(command: argparse.ArgumentParser) -> None:
    """The options that name a run and a state of it."""
    add = command.add_argument
    add(
        "-ckpt",
        type=Path,
        required=True,
        metavar="RUN",
        help="the run's checkpoint folder, or any of StudioGAN's; it is only read",
    )
    add("-cfg", type=Path, default=None, metavar="FILE", help="the config that trained it, where none is recorded")
    state = command.add_mutually_exclusive_group()
    state.add_argument("--newest", action="store_true", help="the newest state (default: the best)")
    state.add_argument("--task", default=None, metavar="N", help="an earlier state: base, or the number of a file in RUN/tasks")
    add_studiogan(command)


def open_named(args: argparse.Namespace) -> OpenRun:
    """The run that the options name."""
    return open_run(args.ckpt, cfg=args.cfg, studiogan=args.studiogan, step="newest" if args.newest else "best")


def sample(args: argparse.Namespace) -> int:
    """Write images of a run; returns 0, or 130 after Ctrl-C."""
    processes = args.processes if args.processes is not None else _cores()
    if processes < 1:
        raise RcasError(f"--processes is {processes}; allowed: 1 or more")
    opened = open_named(args)
    check_truncation(opened, args.truncation)
    shares = choose_shares(opened, args.labels, task=args.task, routed=args.router)
    gray = opened.gray if args.gray is None else args.gray
    plan = SamplePlan.of(opened, shares, args.images, args.seed, args.truncation, gray, _size(opened, args.size))
    for share in plan.shares:
        where = "" if share.state is None else ", as an earlier state of the GAN makes it"
        print(f"rcas: {plan.images:,} images of {share.name or 'no known name'} (label {share.label}{where})", flush=True)
    try:
        written = write_samples(opened, plan, args.out, processes=processes, force=args.force)
    except KeyboardInterrupt:
        print("\nrcas: interrupted; every file that is there is whole, and the same command goes on", file=sys.stderr)
        return 130
    if written.before:
        print(f"rcas: {written.before:,} images were there")
    print(f"rcas: {args.out}: {'gray' if gray else 'colour'} images of {opened.checkpoint.folder.resolve().name} "
          f"at step {opened.checkpoint.step}; {MANIFEST}, {SHEET}")  # fmt: skip
    print(f"rcas: {written.made:,} images in {written.seconds:.1f} s, {written.rate:.1f} images/s, "
          f"{written.processes} process{'es' if written.processes > 1 else ''}")  # fmt: skip
    return 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size(opened: OpenRun, text: str | None) -> int | None:
    if text is None:
        return None
    if text == ORIGINAL:
        if opened.record.images is None:
            raise RcasError("--size: the run does not record the size of its training images; give it in pixels")
        return min(opened.record.images.size)
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 16384):
        raise RcasError(f"--size is {text}; allowed: pixels, or {ORIGINAL}")
    return int(text)
