"""`rcas widen`: a checkpoint of a GAN with more labels, for classes that later swaps teach it.

A new label starts where `bn_propagation` starts one that `RCAS.add` names: its row or column of each weight that has one a label
is the mean of the old ones', in G, in its moving average and in D, an auxiliary classifier's included. Where such a weight is
under spectral norm, the norm stays what it was, and the mean is brought near enough that training will hardly shrink the others
(`SpectralNorm.hold`, `.limit`).

The old labels' images stay the same to the bit, spectral norm or not, on the kind of processor that widened the checkpoint; but
for StyleGAN, whose mapping divides by the root of the number of labels: there they are the same but for rounding. The difference
is measured each time (`Widened.apart`).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rcas_plugin.checkpoints.best import kept_step
from rcas_plugin.checkpoints.checkpoint import NETWORKS, Checkpoint
from rcas_plugin.checkpoints.folder import write_checkpoint
from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan, sample_images
from rcas_plugin.labels import LabelPlan, name_labels
from rcas_plugin.methods.bn_propagation.adapter import norm_in_state, norm_limits, propagate, propagations
from rcas_plugin.methods.bn_propagation.label_tables import LabelTable, find_label_tables
from rcas_plugin.record import Record, plain_record, write_record
from rcas_plugin.sampling.build import Builder
from rcas_plugin.studiogan.folding import plain_content, without_moments
from rcas_plugin.studiogan.locate import add_studiogan
from rcas_plugin.weights.adapters import load_plain

#: Old labels, and images of each, that are made before and after to measure what has changed.
_LOOKED_AT = 16, 2


@dataclass(frozen=True)
class Widened:
    """A checkpoint that was widened.

    Attributes:
        files: the names of the files written.
        labels: the name of each label, old ones first.
        new: the labels that were added, which have had no images yet.
        apart: the largest difference between an old label's images before and after, in [-1, 1]; 0 where they are the same to
            the bit. Of two images each of the first 16 labels.
    """

    files: tuple[str, ...]
    labels: tuple[str, ...]
    new: tuple[int, ...]
    apart: float


def widen_checkpoint(
    folder: str | Path,
    out: str | Path,
    labels: Sequence[str],
    *,
    old: Sequence[str] | None = None,
    cfg: str | Path | None = None,
    studiogan: str | Path | None = None,
) -> Widened:
    """Write a checkpoint with more labels into a folder of its own, the newest state and the best; the source is only read.

    Adapters are folded, optimisers start anew, and a lineage of swaps begins anew. The record names the new labels as ones
    without images (`Record.unused`): until a swap puts a class there (`RCAS.swap: {NAME: NAME}`) they are neither drawn nor
    replayed nor judged.

    Args:
        folder: of the checkpoint: a run's, or any of StudioGAN's.
        out: a folder that is not there, or is empty.
        labels: the names of the new labels.
        old: the class of each label that there is, in order, where no run recorded them.
        cfg: the config that trained it; by default as `open_run`'s.
        studiogan: likewise.

    Raises:
        RcasError: the old labels' names are not known, a new one is no name or there already, `out` holds files, the tasks of the
            run lie apart, or its networks cannot get more labels; or see `open_run`. Nothing has been written then.
    """
    source, target = Path(folder), Path(out)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise RcasError(f"-o: {target} holds files; name a folder of its own")
    newest = Checkpoint.read(source)
    record = newest.record
    if record.swaps and record.swaps[-1].apart:
        raise RcasError(
            f"-ckpt: the labels of {source} have a state of the generator each ({record.swaps[-1].method}), and a widened "
            "checkpoint has one; widen the checkpoint that its first such swap started from"
        )
    builder = Builder.of(source, record, str(newest.contents["D"].get("run_name", "")), cfg, studiogan)
    names = _names(record, builder.number("num_classes"), old, source)
    _check_new(labels, names)
    every = (*names, *labels)
    states, apart = {}, 0.0
    for when, checkpoint in {"current": newest, "best": _best(source)}.items():
        if checkpoint is not None:
            before, gan = builder.load(best=when == "best"), builder.build(len(every))
            states[when] = checkpoint, _widened(gan, checkpoint.folded, names, labels)
            apart = max(apart, _difference(before, gan, len(names)))
    for when, (checkpoint, of_networks) in states.items():
        for network, content in checkpoint.contents.items():
            plain = plain_content(content, record, network, target) if checkpoint.adapted else without_moments(content)
            if NETWORKS[network] in of_networks:
                plain["state_dict"] = of_networks[NETWORKS[network]]
                write_checkpoint(target, network, when, checkpoint.step, plain)
    unused = [label for label, name in enumerate(every) if name in record.dropped or label >= len(names)]
    config = {**builder.config, "DATA": {**builder.config["DATA"], "num_classes": len(every)}}
    # true of the widened one too
    kept = record.model_dump(mode="json", include={"images", "best", "embedded"}, exclude_none=True)
    about = {**kept, "unused": unused, "config": config, "widened_from": str(source.resolve())}
    write_record(target, {**plain_record(every), **about})
    files = tuple(sorted(path.name for path in target.iterdir()))
    return Widened(files, every, tuple(range(len(names), len(every))), apart)


def _names(record: Record, count: int, old: Sequence[str] | None, source: Path) -> tuple[str, ...]:
    """The class behind each label before; raises `RcasError` where nothing says it."""
    if old is None and not record.labels:
        raise RcasError(
            f"--old is missing; nothing records the class of each of the {count} labels of {source}, name them here, in order"
        )
    return name_labels(count, (), old, record.labels, former=record.former, key="--old")[0]


def _check_new(labels: Sequence[str], names: Sequence[str]) -> None:
    """Raise `RcasError` unless new labels have names of their own, which can be class folders."""
    if not labels:
        raise RcasError("--labels is empty; name one new label or more")
    for place, name in enumerate(labels):
        if not is_plain_name(name):
            raise RcasError(f"--labels: {name!r} is not allowed; allowed: the name of a class folder")
        if name in names:
            raise RcasError(f"--labels: {name!r} is label {list(names).index(name)} already; the labels are {', '.join(names)}")
        if name in labels[:place]:
            raise RcasError(f"--labels: {name!r} is named twice; name each new label once")


def _best(source: Path) -> Checkpoint | None:
    """The best checkpoint of a folder, where it holds a whole one."""
    return None if kept_step(source) is None else Checkpoint.read(source, best=True)


def tables_to_widen(
    gan: Gan, states: Mapping[str, Mapping[str, Any]], names: Sequence[str], labels: Sequence[str]
) -> list[LabelTable]:
    """The weights of G and D that get a row or column for each new label.

    Args:
        gan: networks of all labels.
        states: `generator` and `discriminator` -> state dict of the labels before.
        names: of the labels before.
        labels: of the new ones.

    Raises:
        RcasError: these networks cannot get more labels.
    """
    total = len(names) + len(labels)
    plan = LabelPlan(total, dict.fromkeys(range(len(names), total)), {}, (*names, *labels), tuple(names))
    tables = find_label_tables(gan, states, plan, asked="--labels: rcas widen")
    if all(table.role != GENERATOR for table in tables):
        raise RcasError("-ckpt: this generator has no row or column a label, so it cannot get more; take a conditional GAN")
    return tables


@torch.no_grad()
def _widened(gan: Gan, checkpoint: Checkpoint, names: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Fill networks of more labels from a plain checkpoint; returns their plain state dicts, on the CPU, by network."""
    before, total = len(names), len(names) + len(labels)
    new = range(before, total)
    tables = tables_to_widen(gan, checkpoint.states, names, labels)
    for name, network in gan.networks.items():
        state: Mapping[str, Any] = checkpoint.states[name]
        load_plain(network, state)
        for table in (table for table in tables if table.role == (DISCRIMINATOR if name == DISCRIMINATOR else GENERATOR)):
            rows, norm = table.rescaled(network, state[table.name]), norm_in_state(network, table.name, state)
            propagate(network, table.name, rows, range(total), table.dim, labels=(table.offset, before), norm=norm)
        for propagation in propagations(network).values():
            propagation.scores.zero_()  # so that a label's limit does not count those that come after it
        for row, label in enumerate(new):
            for propagation in propagations(network).values():
                propagation.scores[row] = 1 / before
            for limit in norm_limits(network, label):
                limit.keep(row)
    return Checkpoint.of(gan).folded.states


def _difference(before: Gan, after: Gan, count: int) -> float:
    """The largest difference between old labels' images of two GANs, of the same latents and noise."""
    labels = torch.arange(min(count, _LOOKED_AT[0])).repeat_interleave(_LOOKED_AT[1])
    one, other = (sample_images(gan.evaluated, labels, gan.latents) for gan in (before, after))
    return float((one - other).abs().max())


# the command ----------------------------------------------------------------------------------------------------------------


def add_widen(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas widen` its arguments."""
    add = command.add_argument
    add("-ckpt", type=Path, required=True, metavar="DIR", help="the checkpoint's folder, or any of StudioGAN's; it is only read")
    add("-o", "--out", type=Path, required=True, metavar="OUT", help="a folder of its own")
    add("--labels", nargs="+", required=True, metavar="NAME", help="the new labels, best by the names of the classes to come")
    add("--old", nargs="+", default=None, metavar="NAME",
        help="the class of each label that there is, in order, where no run recorded them")  # fmt: skip
    add("-cfg", type=Path, default=None, metavar="FILE", help="the config that trained it, where none is recorded")
    add_studiogan(command)
    command.set_defaults(run=widen)


def widen(args: argparse.Namespace) -> int:
    """Widen a checkpoint; returns exit code 0."""
    made = widen_checkpoint(args.ckpt, args.out, args.labels, old=args.old, cfg=args.cfg, studiogan=args.studiogan)
    same = "the same to the bit" if not made.apart else f"the same but for {made.apart:.1g} at the most, of values in [-1, 1]"
    first, new = made.labels[made.new[0]], ", ".join(f"{label} ({made.labels[label]})" for label in made.new)
    print(f"{args.out}: {', '.join(made.files)}\n{len(made.labels)} labels; new, and without images yet: {new}\n"
          f"the other labels' images are {same}\n"
          f"the next swap: rcas swap --ckpt {args.out} --data DATA --slot {first} --new {first}")  # fmt: skip
    return 0
