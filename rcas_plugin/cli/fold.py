"""`rcas fold`: one plain StudioGAN checkpoint of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rcas_plugin.record import read_record
from rcas_plugin.studiogan.folding import fold_checkpoint


def add_fold(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas fold` its arguments."""
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
