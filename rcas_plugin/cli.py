"""The `rcas` command: swaps, what came of them, images out of them, and what the set-up needs."""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
import yaml

from rcas_plugin import third_parties
from rcas_plugin.doctor import diagnose
from rcas_plugin.embedded.loop import load_gan as embedded_gan
from rcas_plugin.errors import RcasError
from rcas_plugin.importance.estimate import Estimator
from rcas_plugin.labels import label_of, name_labels, reference_of
from rcas_plugin.lifelong.command import add_classify
from rcas_plugin.memory.command import add_memory
from rcas_plugin.record import read_record
from rcas_plugin.registry import objectives
from rcas_plugin.report.importance import inspect_importance, write_look
from rcas_plugin.report.page import REPORT, write_report
from rcas_plugin.report.runs import find_runs
from rcas_plugin.report.verdict import verdict
from rcas_plugin.sampling.command import add_export, add_sample
from rcas_plugin.settings.command import add_config
from rcas_plugin.studiogan.folding import fold_checkpoint
from rcas_plugin.studiogan.locate import PINNED_COMMIT, add_studiogan, commit_of, find_studiogan
from rcas_plugin.studiogan.patching import install, is_installed, is_pinned, uninstall
from rcas_plugin.studiogan.relearn import add_relearn
from rcas_plugin.studiogan.swap_cli import add_swap
from rcas_plugin.utility.command import add_utility
from rcas_plugin.widen import add_widen


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rcas`; returns the exit code."""
    args = build_parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except BrokenPipeError:  # who reads the output has seen enough
        sys.stdout = None  # nothing is flushed into the pipe at exit
        return 0
    except (RcasError, OSError) as error:  # OSError: a StudioGAN that may not be written to
        print(f"rcas: error: {error}", file=sys.stderr)
        return 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of `rcas`, one sub-parser a command."""
    parser = argparse.ArgumentParser(
        prog="rcas",
        description="Class-swap learning for PyTorch-StudioGAN: a new class in the label slot of an obsolete one.",
        epilog="Swap a class:  rcas swap --ckpt DIR --data DIR --slot 9 --new 0\n"
        "With a config: python STUDIOGAN/src/main.py --plugin rcas -t -cfg swap.yaml -ckpt DIR -data DIR -save OUT",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_swap(commands)
    _add_report(commands)
    add_relearn(commands)
    add_utility(commands)
    add_classify(commands)
    add_sample(commands)
    add_export(commands)
    add_memory(commands)
    add_widen(commands)
    _add_importance(commands)
    _add_fold(commands)
    for run, text in (
        (doctor, "print what was found (StudioGAN, patch, torch, device, seams) and what to do"),
        (install_patch, "give StudioGAN's main.py its --plugin flag (adds lines to that one file)"),
        (uninstall_patch, "take the flag out again, byte for byte"),
    ):
        command = commands.add_parser(run.__name__.removesuffix("_patch"), help=text, description=text)
        command.set_defaults(run=run)
        add_studiogan(command)
        if run is doctor:
            _add_doctor(command)
    add_config(commands)
    return parser


def _add_doctor(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--data", type=Path, default=None, metavar="DIR", help="look through a data set: sizes, depths, broken files, classes")
    add("--ckpt", type=Path, default=None, metavar="DIR",
        help="with --data: the checkpoint; which label is which, and the command")  # fmt: skip
    add("--cfg", type=Path, default=None, metavar="FILE", help="with --data: the config that trained it, where none is recorded")


def install_patch(args: argparse.Namespace) -> int:
    """Add the --plugin flag to main.py; returns exit code 0."""
    root = find_studiogan(args.studiogan)
    print(f"{root}: main.py has its --plugin flag{'' if install(root) else ' already'}")
    return 0


def uninstall_patch(args: argparse.Namespace) -> int:
    """Remove the --plugin flag from main.py; returns exit code 0."""
    root = find_studiogan(args.studiogan)
    print(f"{root}: main.py is as upstream ships it{'' if uninstall(root) else ' already'}")
    return 0


def _add_importance(commands: Any) -> None:
    text = "draw which weights of a checkpoint serve a label: heat maps, histograms, overlap with the other labels"
    command = commands.add_parser("importance", help=text, description=text)
    command.add_argument("-cfg", type=Path, required=True, metavar="FILE", help="the config that trained the checkpoint")
    command.add_argument("-ckpt", type=Path, required=True, metavar="DIR", help="the checkpoint's folder; it is only read")
    command.add_argument("--labels", nargs="+", required=True, metavar="LABEL", help="asked about: indices, or recorded names")
    command.add_argument("--samples", type=int, default=512, help="generated images a label (default: 512)")
    command.add_argument("--estimator", choices=get_args(Estimator), default="per_sample", help="of the importance of a weight")
    command.add_argument("--objective", default="adv_output", help="what is differentiated (default: adv_output, D's logit)")
    command.add_argument("--top", type=float, default=0.1, help="part of a layer that counts as a label's top set (default: 0.1)")
    command.add_argument("--seed", type=int, default=0, help="of the latents")
    command.add_argument("-o", "--out", type=Path, default=Path("importance"), metavar="DIR", help="default: ./importance")
    command.add_argument("--embedded", action="store_true", help="read the checkpoint without StudioGAN (resnet at 32x32)")
    add_studiogan(command)
    command.set_defaults(run=importance)


def _add_report(commands: Any) -> None:
    text = "make one page of swaps: is the new class there and good, is the old one gone, are the others intact, how long it took"
    more = "Several runs are drawn side by side; those that differ only in the seed become one line with its interval."
    command = commands.add_parser("report", help=text, description=f"{text}. {more}")
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN",
                         help="checkpoint folder of a swap, or a -save folder with checkpoints/ of several")  # fmt: skip
    where = "where report.html and its PNG files go (default: RUN/report for one run, ./report for several)"
    command.add_argument("-o", "--out", type=Path, default=None, metavar="DIR", help=where)
    command.set_defaults(run=report)


def report(args: argparse.Namespace) -> int:
    """Write a report and print its verdict; returns exit code 0."""
    runs = find_runs(args.runs)
    out = args.out or (runs[0].folder / REPORT if len(runs) == 1 else Path(REPORT))
    page = write_report([run.folder for run in runs], out)
    for run in runs:
        print(f"{run.folder.name}: {verdict(run)}")
    print(page)
    return 0


def _add_fold(commands: Any) -> None:
    text = "make one plain StudioGAN checkpoint of a run whose method has put something around the weights (bn_propagation)"
    command = commands.add_parser("fold", help=text, description=text)
    command.add_argument("-ckpt", type=Path, required=True, metavar="RUN", help="the run's checkpoint folder; it is only read")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder of the plain checkpoint")
    command.set_defaults(run=fold)


def fold(args: argparse.Namespace) -> int:
    """Fold a run's checkpoint into a plain one; returns exit code 0."""
    written = fold_checkpoint(args.ckpt, args.out)
    swaps = read_record(args.ckpt).swaps
    wrong = bool(swaps) and swaps[-1].apart
    same = f"right for its new classes alone ({', '.join(read_record(args.ckpt).slots.values())})" if wrong else "the same images"
    print(f"{args.out}: {', '.join(written)}\nplain weights, {same}: any StudioGAN loads it with this run's config")
    return 0


def importance(args: argparse.Namespace) -> int:
    """Estimate every label's importance and write pictures and JSON; returns exit code 0."""
    if not args.cfg.is_file():
        raise RcasError(f"-cfg: there is no file {args.cfg}; give the config that trained the checkpoint")
    if not 0 < args.top <= 1:
        raise RcasError(f"--top is {args.top}; allowed: over 0, to 1")
    if args.objective not in objectives:
        raise RcasError(f"--objective: {args.objective!r} is unknown; allowed: {objectives.names()}")
    num_classes = _num_classes(args.cfg)
    indices = [str(label) for label in range(num_classes)]
    names, _ = name_labels(num_classes, indices, recorded=read_record(args.ckpt).labels)
    targets = [_label(text, names) for text in args.labels]
    if len(set(targets)) == num_classes:
        raise RcasError("--labels names every label; leave at least one that remains")
    if args.embedded:
        gan = embedded_gan(args.cfg, args.ckpt)
    else:
        studiogan = find_studiogan(args.studiogan)
        from rcas_plugin.studiogan.networks import load_gan  # activates StudioGAN, which changes torch where there is no GPU

        gan = load_gan(studiogan, args.cfg, args.ckpt)
    look = inspect_importance(gan, targets, names, samples=args.samples, estimator=args.estimator, objective=args.objective,
                       top=args.top, seed=args.seed)  # fmt: skip
    summary = write_look(look, args.out)
    for role, matrix in summary["overlap"].items():
        shared = [matrix[target][other] for target in targets for other in range(num_classes) if other not in targets]
        print(f"{role}: the top {args.top:.0%} of {', '.join(names[target] for target in targets)} shares "
              f"{sum(shared) / len(shared):.0%} with those of the other labels")  # fmt: skip
    print(
        f"written: {args.out}/importance.json, heat_maps_generator.png, heat_maps_discriminator.png, histogram.png, overlap.png"
    )
    return 0


def _num_classes(cfg: Path) -> int:
    try:
        return int(yaml.safe_load(cfg.read_text(encoding="utf-8"))["DATA"]["num_classes"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise RcasError(f"-cfg: {cfg} holds no DATA.num_classes; give the config that trained the checkpoint") from None


def _label(text: str, names: Sequence[str]) -> int:
    label = label_of(reference_of(text, names), names)
    if label is not None:
        return label
    raise RcasError(f"--labels: {text} is no label; allowed: 0 to {len(names) - 1}, or a name of: {', '.join(names)}")


def doctor(args: argparse.Namespace) -> int:
    """Print a diagnosis of the set-up, or of data, checkpoint and config; returns 0 where a swap can run."""
    if args.data is not None:
        diagnosis = diagnose(args.data, args.ckpt, args.cfg)
        print(diagnosis.text)
        return 2 if diagnosis.refused else 0
    if args.ckpt is not None or args.cfg is not None:
        raise RcasError("--data is missing; give the folder of the data set that the checkpoint is looked at with")
    print(f"rcas-plugin   {importlib.metadata.version('rcas-plugin')}")
    print(f"torch         {torch.__version__}")
    print(f"device        {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU (no GPU found)'}")
    for party in third_parties.load():
        print(f"methods       {party.name} of {party.package}: {f'BROKEN: {party.error}' if party.error else 'there'}")
    try:
        root = find_studiogan(args.studiogan)
    except RcasError as error:
        print(f"StudioGAN     not found\n\nTo do: {error}")
        return 2
    commit = commit_of(root)
    note = "the pinned one" if commit == PINNED_COMMIT else f"the plugin is tested with {PINNED_COMMIT[:8]}"
    print(f"StudioGAN     {root}")
    print(f"commit        {commit[:8] if commit else 'unknown'} ({note})")
    pinned = is_pinned((root / "src" / "main.py").read_bytes())
    patch = "installed" if is_installed(root) else "not installed" if pinned else "not for this main.py"
    print(f"patch         {patch}")
    # the seams are looked at in a process of their own: activation changes torch for good on a machine without a GPU
    looked = subprocess.run([sys.executable, "-m", "rcas_plugin.studiogan.inspect", str(root / "src")], check=False)
    print()
    for sentence in third_parties.broken_sentences():
        print(f"To do: {sentence}")
    if patch != "installed":
        main_py = root / "src" / "main.py"
        print("To do: rcas install" if pinned else f"Run it unpatched: python -m rcas_plugin.studiogan {main_py} --plugin rcas …")
    elif not looked.returncode:
        print("Nothing to do: python .../src/main.py --plugin rcas …")
    return looked.returncode


if __name__ == "__main__":
    raise SystemExit(main())
