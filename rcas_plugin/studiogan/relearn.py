"""`rcas relearn`: how many steps bring the old class back, beside the steps that a label takes which never had it.

The run's checkpoint is the start of two more swaps by plain `fine_tune`, in folders of their own; the run itself is only read.
One brings the old class back to its label, the other brings it to another label. A class that the weights still hold comes back
sooner than it comes anew: the share of the steps that this saves is the savings of relearning (Ebbinghaus, 1885), 0 for a class
that is forgotten. Both are `rcas swap`, so an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rcas_plugin.errors import RcasError
from rcas_plugin.files import write_json
from rcas_plugin.metrics.curves import Curve, steps_to_level
from rcas_plugin.record import Record, read_record
from rcas_plugin.report.runs import Run
from rcas_plugin.studiogan.locate import find_studiogan
from rcas_plugin.studiogan.swap_command import SwapPlan, plan_swap, run_swap

#: The file of its figures, in its output folder.
RESULT = "relearn.json"
#: Of what the class had before the run, the part at which it is there again.
AGAIN = 0.5


def relearning(curves: Mapping[str, Curve], level: float) -> dict[str, Any]:
    """The steps until a class is recognised, by curve, and the savings.

    Args:
        curves: `relearned` and `fresh`: step -> the part of the label's images that show the class.
        level: the part at which it is there.

    Returns:
        `level`; `steps`, by curve, None where it never was there; `savings`, `1 - relearned / fresh`, None where either is not
        known, and 0 where both are there from the first step.
    """
    steps = {name: steps_to_level({step: -value for step, value in curve.items()}, -level) for name, curve in curves.items()}
    again, anew = steps["relearned"], steps["fresh"]
    known = math.isfinite(again) and math.isfinite(anew)
    savings = (1 - again / anew if anew else 0.0) if known else None
    return {"level": level, "steps": {name: step if math.isfinite(step) else None for name, step in steps.items()},
            "savings": savings}  # fmt: skip


def slot_of(record: Record) -> tuple[int, str, str]:
    """Label, old and new class of the first slot of a run whose old class is gone.

    Raises:
        RcasError: the run is no swap, or none of its slots had a class before.
    """
    for swap in record.swaps[-1:]:
        for label, slot in swap.slots.items():
            if slot.old is not None:
                return label, slot.old, slot.new
    raise RcasError("RUN replaced no class, so there is none to bring back; give the checkpoint folder of a swap")


def other_label(record: Record, label: int, named: str | None) -> str:
    """The class of the label that stands for a fresh one: the named one, or the first that is not the slot.

    Raises:
        RcasError: the name is no other label's.
    """
    others = [name for index, name in enumerate(record.labels) if index != label]
    chosen = named if named is not None else others[0] if others else ""
    if chosen not in others:
        raise RcasError(f"--fresh: {named} is no other label of RUN; allowed: {', '.join(others)}")
    return chosen


def level_of(run: Run) -> float:
    """Half of the part of the label's images that showed the old class before the swap; a half where that is not known."""
    before = run.metrics.get("before", {}).get("old", {}).get("left")
    return AGAIN * (before or 1.0)


def add_relearn(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas relearn` its arguments."""
    command.description = f"{command.description}. The run is only read; Ctrl-C and the same command go on."
    add = command.add_argument
    add("run_folder", type=Path, metavar="RUN", help="the checkpoint folder of a swap; it is only read")
    add("--data", type=Path, required=True, metavar="DIR", help="the data set: train/<class>/, the old class's images among them")
    add("-o", "--out", type=Path, default=Path("outputs/relearn"), metavar="DIR",
        help=f"where both runs and {RESULT} go (default: outputs/relearn)")  # fmt: skip
    add(
        "--fresh",
        default=None,
        metavar="CLASS",
        help="the label that never had it, by its class (default: the first remaining one)",
    )
    add("--steps", type=int, default=200, help="of each of the two (default: 200)")
    add("--every", type=int, default=20, help="steps from one look to the next (default: 20)")
    add("--level", type=float, default=None, metavar="PART",
        help="the part of the label's images that must show it (default: half of what it was before the swap)")  # fmt: skip
    add("--cfg", type=Path, default=None, metavar="FILE", help="the config that trained the GAN, where none is recorded")
    add("--studiogan", type=Path, default=None, metavar="PATH",
        help="a StudioGAN elsewhere, as STUDIOGAN_ROOT does; by default the submodule")  # fmt: skip
    command.set_defaults(run=relearn)


def relearn(args: argparse.Namespace) -> int:
    """Bring the old class back twice, print the steps and write them; returns an exit code."""
    if not 2 <= args.every <= args.steps:
        raise RcasError(f"--every is {args.every}; allowed: 2, to --steps")
    if args.level is not None and not 0 < args.level <= 1:
        raise RcasError(f"--level is {args.level}; allowed: over 0, to 1")
    record = read_record(args.run_folder)
    label, old, new = slot_of(record)
    slots = {"relearned": new, "fresh": other_label(record, label, args.fresh)}
    level = level_of(Run.read(args.run_folder)) if args.level is None else args.level
    root = find_studiogan(args.studiogan)
    plans = {name: _plan(root, args, slot, old) for name, slot in slots.items()}
    curves: dict[str, Curve] = {}
    for name, plan in plans.items():
        print(f"rcas: {name}: {plan.sentences[0]}", flush=True)
        code = 0 if plan.done else run_swap(plan)
        if code or plan.run is None:
            return code or 1
        curves[name] = Run.read(plan.run).curve("new", "recognised")
    figures = relearning(curves, level)
    write_json(args.out / RESULT, {"run": args.run_folder.name, "class": old, "slots": slots, **figures, "curves": curves})
    print(in_words(old, slots, figures))
    return 0


def in_words(old: str, slots: Mapping[str, str], figures: Mapping[str, Any]) -> str:
    """The outcome in two lines."""
    shown = {name: "never" if step is None else f"after {step:.0f} steps" for name, step in figures["steps"].items()}
    lines = [
        f"{old} is recognised in {figures['level']:.0%} of the label's images: {shown['relearned']} in its old label "
        f"(now {slots['relearned']}), {shown['fresh']} in a label that never had it ({slots['fresh']})"
    ]
    if figures["savings"] is not None:
        lines.append(f"savings of relearning: {figures['savings']:.0%}; near 0 % or under, nothing of it was left in the weights")
    return "\n".join(lines)


def _plan(root: Path, args: argparse.Namespace, slot: str, old: str) -> SwapPlan:
    """A swap of a label for the old class by `fine_tune`, looked at every so often."""
    plan = plan_swap(root, args.run_folder, args.data, slot, old, args.out, cfg=args.cfg, method="fine_tune",
                     steps=args.steps)  # fmt: skip
    every = str(args.every)
    return replace(plan, command=(*plan.command, "--save_freq", every, "--print_freq", every))
