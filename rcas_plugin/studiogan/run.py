"""The plan of one run under the plugin: config, data, labels and checkpoint, checked before anything is written."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import (
    compare,
    holds_best_alone,
    labels_in,
)
from rcas_plugin.checkpoints.lineage import check_tasks
from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name
from rcas_plugin.gan import Gan
from rcas_plugin.labels import DataClasses, LabelPlan, resolve_labels
from rcas_plugin.record import RECORD, Record
from rcas_plugin.registry import methods
from rcas_plugin.same_swap import same_swap, settings_of
from rcas_plugin.settings import CommonSettings, parse_settings
from rcas_plugin.studiogan.data import data_classes, named_classes
from rcas_plugin.studiogan.latents import latents_of
from rcas_plugin.studiogan.options import check_apart
from rcas_plugin.weights.adapters import is_plain
from rcas_plugin.weights.blocks import frozen_in

#: `swap`: start from a pre-trained checkpoint; `resume`: an interrupted swap goes on; `evaluate`: no training.
Mode = Literal["swap", "resume", "evaluate"]


@dataclass(frozen=True)
class SwapRun:
    """The checked plan of a config with an `RCAS` section. It travels to every process of a distributed run.

    Attributes:
        settings: the `RCAS` section.
        plan: which class stands behind which label.
        classes: of the training data.
        mode: start, go on, or evaluate only.
        source: the checkpoint folder that was given (never written to when a swap starts).
        origin: the pre-trained checkpoint that the swap started from; `source`, unless the swap goes on.
        frozen_blocks: the first blocks of D that stay as they are (`--freezeD`).
    """

    settings: CommonSettings
    plan: LabelPlan
    classes: DataClasses
    mode: Mode
    source: str
    origin: str
    frozen_blocks: int = 0

    @property
    def starts(self) -> bool:
        return self.mode == "swap"


def class_names(cfgs: Any) -> tuple[str, ...]:
    """The class behind each label of a plain run, or nothing where the data set has no name for each."""
    try:
        names = data_classes(cfgs.DATA, cfgs.RUN, cfgs.MISC.no_proc_data).names
    except RcasError:
        return ()
    return names if len(names) == cfgs.DATA.num_classes else ()


def plan_run(cfgs: Any, section: Mapping[str, Any]) -> tuple[SwapRun, Checkpoint]:
    """Check a config with an `RCAS` section against its data and its checkpoint; nothing is written.

    Raises:
        RcasError: one sentence that names the key or the option and what is allowed.
    """
    parse_settings(section)  # a mistake in it comes first
    RUN = cfgs.RUN
    if cfgs.MODEL.g_cond_mtd == "W/O" or cfgs.DATA.num_classes < 2:
        raise RcasError("RCAS: this config's GAN is not conditional; allowed: MODEL.g_cond_mtd cBN or cAdaIN, two labels or more")
    if RUN.ckpt_dir is None:
        raise RcasError("-ckpt is missing; RCAS swaps a class of a pre-trained GAN, give the folder of its checkpoint")
    checkpoint = Checkpoint.read(RUN.ckpt_dir, best=RUN.load_best)
    record = checkpoint.record
    settings = settings_of(record, section)
    check_apart(RUN, settings.method)
    resumes = same_swap(record, settings)
    mode: Mode = "evaluate" if not RUN.train else "resume" if resumes else "swap"
    classes = data_classes(cfgs.DATA, RUN, cfgs.MISC.no_proc_data)
    recorded = record.labels_before if resumes else record.labels  # a swap's own record names the new class in the slot
    method = methods[settings.method]
    before = cfgs.DATA.num_classes
    if method.changes_labels:
        before = len(recorded) if resumes and recorded else labels_of_checkpoint(cfgs, checkpoint)
    plan = resolve_labels(settings, cfgs.DATA.num_classes, classes, recorded, num_before=before, dropped=record.dropped,
                          former=() if resumes else record.former, shown=method.shown(settings))  # fmt: skip
    frozen = _frozen_blocks(RUN, record if resumes else Record())
    if resumes:
        _check_still(record, plan)
    method.check(settings, plan, cfgs.OPTIMIZATION.total_steps)
    unused = [label for label in range(plan.num_classes) if label not in plan.live]
    if RUN.intra_class_fid and unused:
        raise RcasError(
            f"-ifid: label {unused[0]} has no images any more, and StudioGAN asks for every label's; leave the option out"
        )
    if mode != "swap" or not method.changes_labels:
        check_checkpoint(cfgs, checkpoint)
    if mode == "swap":
        check_tasks(RUN.ckpt_dir, record, settings.method)
        check_networks(cfgs, settings, plan, checkpoint, frozen)
    source = str(Path(RUN.ckpt_dir).resolve())
    origin = record.source or source if resumes else source
    return SwapRun(settings, plan, classes, mode, source, origin, frozen), checkpoint


def _frozen_blocks(RUN: Any, record: Record) -> int:
    """The number of D's blocks that `--freezeD` freezes; a swap that goes on has the recorded one.

    The option is then taken from upstream, which would begin anew with it in each run: the life cycle freezes.
    """
    asked, recorded = RUN.freezeD, record.frozen_blocks
    if record.swap is not None and asked not in (-1, recorded):
        raise RcasError(
            f"--freezeD: this swap was started with {recorded} frozen blocks; give that number, or leave the option out"
        )
    RUN.freezeD = -1
    return recorded if record.swap is not None else max(0, int(asked))


def _check_still(record: Record, plan: LabelPlan) -> None:
    """Raise `RcasError` where an index names another class of the data set than when the swap started."""
    for label, (then, now) in enumerate(zip(record.labels, plan.names, strict=False)):
        if then != now:
            raise RcasError(
                f"RCAS.swap: label {label} had the new class {then!r} when the swap started, and the index names {now!r} now; "
                "name the class by its folder, in quotes"
            )


def check_plain_run(cfgs: Any) -> None:
    """Raise `RcasError` where a run without an `RCAS` section would show a label another class than it was trained on.

    StudioGAN takes the data set's folders in order for the labels. Images are generated by label alone: what asks for the data's
    is training, and metrics a class.
    """
    RUN = cfgs.RUN
    goes_on = RUN.ckpt_dir is not None and RUN.freezeD == -1  # freezeD transfers between class counts
    checkpoint = Checkpoint.read(RUN.ckpt_dir, best=RUN.load_best) if goes_on else None
    if checkpoint is not None:
        check_checkpoint(cfgs, checkpoint)
    by_class = RUN.train or RUN.intra_class_fid or RUN.GAN_train or RUN.GAN_test
    if not by_class or (cfgs.MODEL.g_cond_mtd == "W/O" and cfgs.MODEL.d_cond_mtd == "W/O"):
        return
    record = checkpoint.record if checkpoint is not None else Record()
    names = named_classes(cfgs.DATA, RUN)
    if record.labels and (names != record.labels if names else record.swap is not None):
        shown = f"the data set's are {_shown(names)}" if names else "the data set has no class names"
        raise RcasError(
            f"-ckpt: {RECORD} beside the checkpoint records the labels {_shown(record.labels)}, in order, and {shown}; "
            "without an RCAS section a label would get another class's images: "
            + (f"take the section that {RECORD} records under swap, " if record.swap is not None else "add an RCAS section, ")
            + "or give the data set those folders"
        )
    if len(names) > cfgs.DATA.num_classes:
        raise RcasError(
            f"DATA.num_classes: {cfgs.DATA.num_classes} labels, and the data set has {len(names)} class folders "
            f"({_shown(names)}); set it to {len(names)}, or take the other folders out"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def take_best_alone(cfgs: Any) -> None:
    """Make StudioGAN load the best weights where `-ckpt` names a folder that holds no others, and say so."""
    if cfgs.RUN.ckpt_dir is not None and not cfgs.RUN.load_best and holds_best_alone(cfgs.RUN.ckpt_dir):
        cfgs.RUN.load_best = True
        print(f"rcas: {cfgs.RUN.ckpt_dir} holds best weights alone; they are taken")


def check_checkpoint(cfgs: Any, checkpoint: Checkpoint) -> None:
    """Raise `RcasError` unless the checkpoint of `-ckpt` is one of this config's networks."""
    _check_contents(cfgs, checkpoint, cfgs.DATA.num_classes)


def labels_of_checkpoint(cfgs: Any, checkpoint: Checkpoint) -> int:
    """The number of labels of the GAN of `-ckpt`, which may differ from the config's; raises like `check_checkpoint`."""
    state = checkpoint.folded.states["generator"]
    labels = cfgs.DATA.num_classes
    count = labels_in(state, empty_networks(cfgs)["G"], empty_networks(cfgs, labels + 1)["G"], labels)
    _check_contents(cfgs, checkpoint, count)
    return count


def _check_contents(cfgs: Any, checkpoint: Checkpoint, labels: int) -> None:
    expected = empty_networks(cfgs, labels)
    for network, path in checkpoint.files.items():
        content = checkpoint.contents[network]
        if "RCAS" not in cfgs.super_cfgs and not is_plain(content["state_dict"]):
            raise RcasError(
                f"-ckpt: {path.name} holds what its method has put around or beside the weights; "
                f"fold it first: rcas fold -ckpt {cfgs.RUN.ckpt_dir} -o OUT"
            )
        compare(
            checkpoint.folded.contents[network]["state_dict"], expected["D" if network == "D" else "G"], path, cfgs.MODEL.backbone
        )
        if network == "D" and "run_name" not in content:
            raise RcasError(f"-ckpt: {path} is no StudioGAN checkpoint; it holds no run_name")
        if network == "D" and not is_plain_name(content["run_name"]):  # StudioGAN names its log file by it
            raise RcasError(
                f"-ckpt: {path} holds {content['run_name']!r:.80} as run_name, which is no name; take it from its maker anew"
            )


def check_networks(cfgs: Any, settings: CommonSettings, plan: LabelPlan, checkpoint: Checkpoint, frozen_blocks: int = 0) -> None:
    """Raise `RcasError` where the method cannot work on this config's networks (`Method.check_networks`)."""
    generator, discriminator = _build(cfgs, cfgs.DATA.num_classes)
    for network in (generator, discriminator):
        if next(network.parameters()).is_meta:
            network.to_empty(device="cpu")
    if frozen_blocks:
        frozen_in(discriminator, frozen_blocks)
    gan = Gan(generator, discriminator, None, latents_of(cfgs.MODEL))
    methods[settings.method].check_networks(settings, plan, gan, checkpoint.folded.states)


def empty_networks(cfgs: Any, labels: int | None = None) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors that this config's G and D would have: names and shapes, and no memory but for StyleGAN's.

    Args:
        cfgs: upstream's Configurations.
        labels: in place of the config's number of labels.
    """
    generator, discriminator = _build(cfgs, cfgs.DATA.num_classes if labels is None else labels)
    return {"G": generator.state_dict(), "D": discriminator.state_dict()}


def _build(cfgs: Any, labels: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """G and D of the config without memory, but for StyleGAN's.

    StyleGAN computes its filters as it is built, and moves them to a device of their own, which no tensor without memory can.
    """
    device = "cpu" if cfgs.MODEL.backbone in ("stylegan2", "stylegan3") else "meta"
    model: Any = importlib.import_module("models.model")
    build = getattr(model.load_generator_discriminator, "upstream", model.load_generator_discriminator)
    ops: Any = importlib.import_module("utils.ops")
    initialise = ops.init_weights
    ops.init_weights = lambda modules, method: None
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            networks = build(DATA=_changed(cfgs.DATA, num_classes=labels), OPTIMIZATION=cfgs.OPTIMIZATION,
                             MODEL=_changed(cfgs.MODEL, apply_g_ema=False), STYLEGAN=cfgs.STYLEGAN, MODULES=cfgs.MODULES,
                             RUN=cfgs.RUN, device=device, logger=None)  # fmt: skip
    finally:
        ops.init_weights = initialise
    return networks[0], networks[3]


def _changed(section: Any, **values: Any) -> Any:
    copy = type(section)()
    vars(copy).update(vars(section), **values)
    return copy
