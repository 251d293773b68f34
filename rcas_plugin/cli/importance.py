"""`rcas importance`: which weights of a checkpoint serve a label."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import yaml

from rcas_plugin.embedded.loop import load_gan as embedded_gan
from rcas_plugin.errors import RcasError
from rcas_plugin.importance.estimate import Estimator
from rcas_plugin.labels import label_of, name_labels, reference_of
from rcas_plugin.record import read_record
from rcas_plugin.registry import objectives
from rcas_plugin.report.importance import inspect_importance, write_look
from rcas_plugin.studiogan.locate import add_studiogan, find_studiogan


def add_importance(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas importance` its arguments."""
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
