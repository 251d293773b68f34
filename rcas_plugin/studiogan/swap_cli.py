"""`rcas swap`: its options, and what it says while it plans a swap and runs it."""

from __future__ import annotations

import argparse
from pathlib import Path

from rcas_plugin.studiogan.locate import add_studiogan, find_studiogan
from rcas_plugin.studiogan.look import check_swap_images
from rcas_plugin.studiogan.swap_command import plan_swap, run_swap, sentences_at_end, shown


def add_swap(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas swap` its arguments."""
    add = command.add_argument
    add("--ckpt", type=Path, required=True, metavar="DIR", help="the pre-trained checkpoint's folder; it is only read")
    add("--data", type=Path, required=True, metavar="DIR", help="the data set: train/<class>/, the new class beside the others")
    add("--slot", required=True, metavar="CLASS", help="the class that is given up: its name, or else its label")
    add("--new", required=True, metavar="CLASS", help="the new class: its folder's name, or else its index")
    add("--labels", nargs="+", default=None, metavar="NAME",
        help="the class folder of each label at pre-training, in order, where no run recorded it")  # fmt: skip
    add("--new-data", type=Path, default=None, metavar="DIR", help="its images, where they are not in --data")
    add("-o", "--out", type=Path, default=Path("outputs/swap"), metavar="DIR",
        help="where it goes (default: outputs/swap); the same swap again goes on, another has its own folder")  # fmt: skip
    add("--method", default="class_swap", help="RCAS.method (default: class_swap); rcas doctor lists those of other packages")
    add("--remaining-data", choices=("real", "replay", "none"), default=None,
        help="what training shows of the other classes: their images in --data (default, but for feature_replay), images that "
        "the pre-trained GAN draws, or nothing; but for real they need no images")  # fmt: skip
    add("--steps", type=int, default=None,
        help="of the swap (default: a fifth of the pre-training's; after a swap, as many as that one's)")  # fmt: skip
    add("--cfg", type=Path, default=None, metavar="FILE", help="the config that trained it, where none is recorded")
    add("--accelerate", action="store_true", help="channels-last, and bfloat16 where the processor has it")
    add("--dry-run", action="store_true", help="print the config and the command, and do nothing")
    add_studiogan(command)
    command.set_defaults(run=swap)


def swap(args: argparse.Namespace) -> int:
    """Plan a swap and run it; returns main.py's exit code."""
    plan = plan_swap(
        find_studiogan(args.studiogan), args.ckpt, args.data, args.slot, args.new, args.out, cfg=args.cfg, method=args.method,
        steps=args.steps, new_data=args.new_data, labels=args.labels, accelerate=args.accelerate,
        remaining_data=args.remaining_data,
    )  # fmt: skip
    if args.dry_run:
        print(shown(plan))
        return 0
    for sentence in plan.sentences:
        print(f"rcas: {sentence}", flush=True)
    if plan.done:
        print("rcas: that swap is done; another --out, or more --steps, to go further")
        return 0
    check_swap_images(args.data, plan.config.get("DATA") or {}, args.slot, args.new, args.new_data)
    code = run_swap(plan)
    run = plan.run
    if code == 0 and run is not None:
        for sentence in sentences_at_end(run):
            print(f"rcas: {sentence}")
    elif run is not None:
        print("rcas: the same command goes on from the last checkpoint")
    return code
