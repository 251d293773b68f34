"""The `rcas` command: doctor, install, uninstall, config, importance, fold."""

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

from rcas_plugin.embedded.loop import load_gan as embedded_gan
from rcas_plugin.errors import RcasError
from rcas_plugin.importance import Estimator
from rcas_plugin.registry import objectives
from rcas_plugin.report.importance import look_inside, write_look
from rcas_plugin.settings import reference
from rcas_plugin.studiogan.checkpoints import read_record
from rcas_plugin.studiogan.folding import fold_checkpoint
from rcas_plugin.studiogan.locate import PINNED_COMMIT, commit_of, find_studiogan
from rcas_plugin.studiogan.patching import install, is_installed, is_pinned, uninstall


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rcas`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="rcas",
        description="Class-swap learning for PyTorch-StudioGAN: a new class in the label slot of an obsolete one.",
        epilog="Swap a class:  python STUDIOGAN/src/main.py --plugin rcas -t -cfg swap.yaml -ckpt DIR -data DIR -save OUT",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    texts = {
        "doctor": "print what was found (StudioGAN, patch, torch, device, seams) and what to do",
        "install": "give StudioGAN's main.py its --plugin flag (adds lines to that one file)",
        "uninstall": "take the flag out again, byte for byte",
        "config": "print every key of the RCAS section with its default",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        if name != "config":
            command.add_argument("--studiogan", type=Path, default=None, metavar="PATH",
                                 help="a StudioGAN elsewhere, as STUDIOGAN_ROOT does; by default the submodule")  # fmt: skip
    _add_importance(commands)
    _add_fold(commands)
    args = parser.parse_args(arguments)
    try:
        if args.command == "importance":
            return importance(args)
        if args.command == "fold":
            written = fold_checkpoint(args.ckpt, args.out)
            print(
                f"{args.out}: {', '.join(written)}\nplain weights, the same images: any StudioGAN loads it with this run's config"
            )
            return 0
        if args.command == "doctor":
            return doctor(args.studiogan)
        if args.command == "config":
            for key, default, text in reference():
                print(f"{key:36} {default:12} {text}")
            return 0
        root = find_studiogan(args.studiogan)
        changed = (install if args.command == "install" else uninstall)(root)
        done = {"install": "main.py has its --plugin flag", "uninstall": "main.py is as upstream ships it"}[args.command]
        print(f"{root}: {done}{'' if changed else ' already'}")
    except (RcasError, OSError) as error:  # OSError: a StudioGAN that may not be written to
        print(f"rcas: error: {error}", file=sys.stderr)
        return 2
    return 0


def _add_importance(commands: Any) -> None:
    text = "draw which weights of a checkpoint serve a label: heat maps, histograms, overlap with the other labels"
    command = commands.add_parser("importance", help=text, description=text)
    command.add_argument("-cfg", type=Path, required=True, metavar="FILE", help="the config that trained the checkpoint")
    command.add_argument("-ckpt", type=Path, required=True, metavar="DIR", help="the checkpoint's folder; it is only read")
    command.add_argument("--labels", nargs="+", required=True, metavar="LABEL", help="asked about: indices, or recorded names")
    command.add_argument("--samples", type=int, default=512, help="generated images a label (default: 512)")
    command.add_argument("--estimator", choices=get_args(Estimator), default="per_sample")
    command.add_argument("--objective", choices=sorted(objectives), default="adv_output", help="what is differentiated")
    command.add_argument("--top", type=float, default=0.1, help="part of a layer that counts as a label's top set (default: 0.1)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("-o", "--out", type=Path, default=Path("importance"), metavar="DIR", help="default: ./importance")
    command.add_argument("--embedded", action="store_true", help="read the checkpoint without StudioGAN (resnet at 32x32)")
    command.add_argument("--studiogan", type=Path, default=None, metavar="PATH", help="a StudioGAN elsewhere")


def _add_fold(commands: Any) -> None:
    text = "make one plain StudioGAN checkpoint of a run whose method has put something around the weights (bn_propagation)"
    command = commands.add_parser("fold", help=text, description=text)
    command.add_argument("-ckpt", type=Path, required=True, metavar="RUN", help="the run's checkpoint folder; it is only read")
    command.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder of the plain checkpoint")


def importance(args: argparse.Namespace) -> int:
    """Estimate every label's importance and write pictures and JSON; 0."""
    if not args.cfg.is_file():
        raise RcasError(f"-cfg: there is no file {args.cfg}; give the config that trained the checkpoint")
    if not 0 < args.top <= 1:
        raise RcasError(f"--top is {args.top}; allowed: over 0, to 1")
    num_classes = _num_classes(args.cfg)
    recorded = read_record(args.ckpt).get("labels") or []
    names = list(recorded) if len(recorded) == num_classes else [str(label) for label in range(num_classes)]
    targets = [_label(given, names) for given in args.labels]
    if len(set(targets)) == num_classes:
        raise RcasError("--labels names every label; leave at least one that remains")
    if args.embedded:
        gan = embedded_gan(args.cfg, args.ckpt)
    else:
        studiogan = find_studiogan(args.studiogan)
        from rcas_plugin.studiogan.networks import load_gan  # activates StudioGAN, which changes torch where there is no GPU

        gan = load_gan(studiogan, args.cfg, args.ckpt)
    look = look_inside(gan, targets, names, samples=args.samples, estimator=args.estimator, objective=args.objective,
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


def _label(given: str, names: Sequence[str]) -> int:
    if given in names:
        return names.index(given)
    if given.isdigit() and int(given) < len(names):
        return int(given)
    raise RcasError(f"--labels: {given} is no label; allowed: 0 to {len(names) - 1}, or a name of: {', '.join(names)}")


def doctor(given: Path | None) -> int:
    """Print what was found and what to do; 0 where a swap can run."""
    print(f"rcas-plugin   {importlib.metadata.version('rcas-plugin')}")
    print(f"torch         {torch.__version__}")
    print(f"device        {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU (no GPU found)'}")
    try:
        root = find_studiogan(given)
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
    if patch != "installed":
        main_py = root / "src" / "main.py"
        print("To do: rcas install" if pinned else f"Run it unpatched: python -m rcas_plugin.studiogan {main_py} --plugin rcas …")
    elif not looked.returncode:
        print("Nothing to do: python .../src/main.py --plugin rcas …")
    return looked.returncode


if __name__ == "__main__":
    raise SystemExit(main())
