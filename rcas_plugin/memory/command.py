"""`rcas memory`: list, export, use and fold the tasks of a run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rcas_plugin.checkpoints.best import kept_step
from rcas_plugin.checkpoints.lineage import read_lineage
from rcas_plugin.memory.compress import compress_run
from rcas_plugin.memory.export import Exported, export_task
from rcas_plugin.memory.tasks import list_tasks
from rcas_plugin.memory.use import draw_tasks
from rcas_plugin.sampling.run import open_run
from rcas_plugin.studiogan.locate import add_studiogan

_ABOUT = """\
Each swap of a lineage is a task: what differs from the base, the GAN that was pre-trained. After gan_memory, and other
methods whose tasks lie apart, a task is small and right for its own labels alone; every label is then made by its own
task, or by the base. A run's folder has all of them. The generator of all tasks is also what main.py --plugin rcas
shows with -v and judges with -metrics, and what rcas sample and rcas export take."""
_EXAMPLES = """\
rcas memory list   -ckpt RUN                    the tasks, their classes and sizes
rcas memory use    -ckpt RUN -o all.png         every label by one generator of all tasks, drawn
rcas memory export -ckpt RUN --task 1 -o OUT    one task as a plain StudioGAN checkpoint
rcas memory fold   -ckpt RUN -o OUT             the run's own task likewise
rcas memory compress -ckpt RUN -o OUT           the run with its own task of gan_memory in fewer numbers"""


def add_memory(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas memory` its arguments."""
    command.description, command.epilog, command.formatter_class = _ABOUT, _EXAMPLES, argparse.RawDescriptionHelpFormatter
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_list(actions)
    _add_export(actions)
    _add_use(actions)
    _add_fold(actions)
    _add_compress(actions)


def _add(actions: Any, name: str, text: str, run: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    command.add_argument("-ckpt", type=Path, required=True, metavar="RUN", help="the run's checkpoint folder; it is only read")
    command.add_argument("--newest", action="store_true", help="the run's newest state as its own task (default: the best)")
    command.set_defaults(run=run)
    return command


def _best(args: argparse.Namespace) -> bool:
    return not args.newest and kept_step(args.ckpt) is not None


def _add_list(actions: Any) -> None:
    command = _add(actions, "list", "print each task: method, classes, trained parameters and bytes, of the base's", show)
    command.add_argument("--json", action="store_true", help="as JSON")


def show(args: argparse.Namespace) -> int:
    """Print the tasks of a run; returns exit code 0."""
    tasks = list_tasks(args.ckpt, best=_best(args))
    print(json.dumps(tasks.as_dict(), indent=2, ensure_ascii=False) if args.json else "\n".join(tasks.lines))
    return 0


def _add_export(actions: Any) -> None:
    text = "write one task's generator as a plain StudioGAN checkpoint, and say which labels are right in it"
    command = _add(actions, "export", text, export)
    command.add_argument("--task", type=int, required=True, metavar="N", help="its number as `list` has it; 0 for the base")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a folder of its own")


def export(args: argparse.Namespace) -> int:
    """Write one task as a checkpoint; returns exit code 0."""
    _say(args.out, export_task(args.ckpt, args.task, args.out, best=_best(args)))
    return 0


def _add_use(actions: Any) -> None:
    command = _add(actions, "use", "draw every label by one generator of all tasks, and say how to have it elsewhere", use)
    command.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="PNG with a row a label")
    command.add_argument("--images", type=int, default=8, metavar="N", help="of each label (default: 8)")
    command.add_argument("--seed", type=int, default=0, help="of the latents (default: 0)")
    command.add_argument(
        "-cfg", type=Path, default=None, metavar="FILE", help="the config that trained it, where none is recorded"
    )
    add_studiogan(command)


def use(args: argparse.Namespace) -> int:
    """Draw all labels of a run; returns exit code 0."""
    step = "best" if _best(args) else "newest"
    opened = open_run(args.ckpt, cfg=args.cfg, studiogan=args.studiogan, step=step)  # type: ignore[arg-type]
    for label, text in enumerate(draw_tasks(opened, args.out, images=args.images, seed=args.seed)):
        print(f"label {label}, {text}")
    print(f"{args.out}\nthe same generator: main.py --plugin rcas -v (or -metrics) with the run's config and -ckpt {args.ckpt}; "
          f"rcas sample -ckpt {args.ckpt} --labels all -o OUT; rcas export -ckpt {args.ckpt} -o GENERATOR.onnx")  # fmt: skip
    return 0


def _add_fold(actions: Any) -> None:
    text = "write the run's own task as a plain StudioGAN checkpoint, and say which labels are right in it"
    command = _add(actions, "fold", text, fold)
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a folder of its own")


def fold(args: argparse.Namespace) -> int:
    """Write the run's own task as a checkpoint; returns exit code 0."""
    last = len(read_lineage(args.ckpt).tasks) + 1
    _say(args.out, export_task(args.ckpt, last, args.out, best=_best(args)))
    return 0


def _add_compress(actions: Any) -> None:
    text = (
        "write a run of gan_memory whose own task takes fewer numbers: its styles in factors of low rank, those of the tasks "
        "before used again; before the next swap, as a task is never written again"
    )
    command: argparse.ArgumentParser = actions.add_parser("compress", help=text.partition(":")[0], description=text)
    command.add_argument("-ckpt", type=Path, required=True, metavar="RUN", help="the run's checkpoint folder; it is only read")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a folder of its own")
    command.add_argument("--energy", type=float, default=None, metavar="PART", help="of each style that is kept, over 0, to 1 "
                         "(default: 0.95 of those with 256 rows, 0.9 of 512, 0.8 of 1024, all of less)")  # fmt: skip
    command.set_defaults(run=compress)


def compress(args: argparse.Namespace) -> int:
    """Write a run with its own task in factors; returns exit code 0."""
    made = compress_run(args.ckpt, args.out, args.energy)
    print(f"{args.out}: {made.in_factors} of {made.layers} styles in factors; the convolutions' styles take {made.after:,} "
          f"numbers, {made.after / made.before:.1%} of {made.before:,}\n"
          f"look at it: rcas memory use -ckpt {args.out} -o all.png; the next swap may start from it")  # fmt: skip
    return 0


def _say(out: Path, written: Exported) -> None:
    def named(labels: Any) -> str:
        return ", ".join(f"{label} ({name})" for label, name in labels.items())

    print(f"{out}: {', '.join(written.files)}\nplain weights: any StudioGAN loads it with this run's config\n"
          f"right in it: {named(written.right)}")  # fmt: skip
    if written.wrong:
        print(f"not right in it, as other states of the lineage make them: {named(written.wrong)}")
    if written.unused:
        print(f"without images in it: {named(written.unused)}")
