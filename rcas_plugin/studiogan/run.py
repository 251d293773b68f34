"""One run under the plugin: what was asked for, checked before anything is written, and the state while it goes on."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name
from rcas_plugin.fold import adapted, fold_state
from rcas_plugin.gan import Gan
from rcas_plugin.labels import DataClasses, LabelPlan, SwapDataset, resolve_labels
from rcas_plugin.methods.base import Method
from rcas_plugin.observer import Observer
from rcas_plugin.registry import phases
from rcas_plugin.settings import RcasSettings, parse_settings
from rcas_plugin.studiogan.checkpoints import (
    checkpoint_files,
    compare,
    other_size,
    plain_record,
    read_checkpoint,
    read_record,
    swap_record,
)
from rcas_plugin.studiogan.data import data_classes

#: `swap`: start from a pre-trained checkpoint; `resume`: an interrupted swap goes on; `evaluate`: no training.
Mode = Literal["swap", "resume", "evaluate"]


@dataclass(frozen=True)
class SwapRun:
    """What a config with an `RCAS` section asks for, checked. Travels to every process of a distributed run.

    Attributes:
        settings: the `RCAS` section.
        plan: which class stands behind which label.
        classes: of the training data.
        mode: start, go on, or evaluate only.
        source: the checkpoint folder that was given (never written to when a swap starts).
        origin: the pre-trained checkpoint that the swap started from; `source`, unless the swap goes on.
    """

    settings: RcasSettings
    plan: LabelPlan
    classes: DataClasses
    mode: Mode
    source: str
    origin: str

    @property
    def starts(self) -> bool:
        return self.mode == "swap"


@dataclass
class ActiveRun:
    """The state of this process's run; the wrappers of the seams read and fill it.

    Attributes:
        cfgs: upstream's Configurations, or None before they are read.
        swap: what the `RCAS` section asks for, or None for a plain upstream run.
        gan: the networks, once they are built.
        method: the method at work, once it is made.
        seen: (images, labels) that D was shown since the last fakes were made.
        step: the step of training, from 0.
        data: the training data as the swap sees them, once they are read.
        base: upstream's data set behind them, or of a plain run; the evaluation's where nothing is trained.
        worker: upstream's worker, once it is made.
        observer: watches a swap, in the process that writes files.
        names: the class behind each label of a plain run, once it was asked for; empty where that is unknown.
        seconds_per_step: as measured so far; 0 before.
    """

    cfgs: Any = None
    swap: SwapRun | None = None
    gan: Gan | None = None
    method: Method | None = None
    seen: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    step: int = 0
    data: SwapDataset | None = None
    base: Any = None
    worker: Any = None
    observer: Observer | None = None
    names: tuple[str, ...] | None = None
    seconds_per_step: float = 0.0

    def record(self) -> dict[str, Any]:
        """What is written beside the checkpoints: for a swap its settings; for any run the class of each label, where that is
        known, the config and the time of a step."""
        about = {"config": getattr(self.cfgs, "rcas_config", None), "seconds_per_step": round(self.seconds_per_step, 4)}
        if self.swap is not None:
            own = {} if self.method is None else self.method.record()
            return {**swap_record(self.swap.settings, self.swap.plan, self.swap.origin), **about, **own}
        if self.names is None:  # a large data set takes a while to list
            self.names = class_names(self.cfgs)
        return {**plain_record(self.names), **about}


def class_names(cfgs: Any) -> tuple[str, ...]:
    """The class behind each label of a plain run, or nothing where the data set has no name for each."""
    try:
        names = data_classes(cfgs.DATA, cfgs.RUN, cfgs.MISC.no_proc_data).names
    except RcasError:
        return ()
    return names if len(names) == cfgs.DATA.num_classes else ()


def plan_run(cfgs: Any, section: Mapping[str, Any]) -> SwapRun:
    """Check a config with an `RCAS` section against its data and its checkpoint; nothing is written.

    Raises:
        RcasError: one sentence that names the key or the option and what is allowed.
    """
    settings = parse_settings(section)
    RUN = cfgs.RUN
    if cfgs.MODEL.g_cond_mtd == "W/O" or cfgs.DATA.num_classes < 2:
        raise RcasError("RCAS: this config's GAN is not conditional; allowed: MODEL.g_cond_mtd cBN or cAdaIN, two labels or more")
    if RUN.ckpt_dir is None:
        raise RcasError("-ckpt is missing; RCAS swaps a class of a pre-trained GAN, give the folder of its checkpoint")
    record = read_record(RUN.ckpt_dir)
    resumes = record.get("swap") == settings.model_dump(mode="json")
    mode: Mode = "evaluate" if not RUN.train else "resume" if resumes else "swap"
    classes = data_classes(cfgs.DATA, RUN, cfgs.MISC.no_proc_data)
    recorded = record.get("labels_before" if resumes else "labels")  # a swap's own record names the new class in the slot
    method = phases[settings.method]
    before = cfgs.DATA.num_classes
    if method.changes_labels:
        before = len(recorded) if resumes and recorded else labels_of_checkpoint(cfgs)
    plan = resolve_labels(settings, cfgs.DATA.num_classes, classes, recorded, num_before=before)
    method.check(settings, plan, cfgs.OPTIMIZATION.total_steps)
    unused = [label for label in range(plan.num_classes) if label not in plan.live]
    if RUN.intra_class_fid and unused:
        raise RcasError(
            f"-ifid: label {unused[0]} has no images any more, and StudioGAN asks for every label's; leave the option out"
        )
    if mode != "swap" or not method.changes_labels:
        check_checkpoint(cfgs)
    source = str(Path(RUN.ckpt_dir).resolve())
    return SwapRun(settings, plan, classes, mode, source, str(record.get("source", source)) if resumes else source)


def check_checkpoint(cfgs: Any) -> None:
    """Raise `RcasError` unless `-ckpt` names whole checkpoint files of this config's networks."""
    _check_files(cfgs, cfgs.DATA.num_classes)


def labels_of_checkpoint(cfgs: Any) -> int:
    """How many labels the GAN of `-ckpt` has, which may be more or fewer than the config's; raises like `check_checkpoint`."""
    expected = empty_networks(cfgs)["G"]
    state = fold_state(read_checkpoint(checkpoint_files(cfgs.RUN.ckpt_dir, best=cfgs.RUN.load_best)["G"])["state_dict"])
    found = other_size(state, expected, cfgs.DATA.num_classes)
    _check_files(cfgs, found)
    return found


def _check_files(cfgs: Any, labels: int) -> None:
    files = checkpoint_files(cfgs.RUN.ckpt_dir, best=cfgs.RUN.load_best)
    expected = empty_networks(cfgs)
    sizes = (labels, cfgs.DATA.num_classes)
    for network, path in files.items():
        content = read_checkpoint(path)
        state = content["state_dict"]
        if "RCAS" not in cfgs.super_cfgs and adapted(state):
            raise RcasError(
                f"-ckpt: {path.name} holds what its method has put around the weights; "
                f"fold it first: rcas fold -ckpt {cfgs.RUN.ckpt_dir} -o OUT"
            )
        compare(fold_state(state), expected["D" if network == "D" else "G"], path, cfgs.MODEL.backbone, sizes)
        if network == "D" and "run_name" not in content:
            raise RcasError(f"-ckpt: {path} is no StudioGAN checkpoint; it holds no run_name")
        if network == "D" and not is_plain_name(content["run_name"]):  # StudioGAN names its log file by it
            raise RcasError(
                f"-ckpt: {path} holds {content['run_name']!r:.80} as run_name, which is no name; take it from its maker anew"
            )


def empty_networks(cfgs: Any) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors that this config's G and D would have: names and shapes, and no memory but for StyleGAN's.

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
            networks = build(DATA=cfgs.DATA, OPTIMIZATION=cfgs.OPTIMIZATION, MODEL=_without_ema(cfgs.MODEL),
                             STYLEGAN=cfgs.STYLEGAN, MODULES=cfgs.MODULES, RUN=cfgs.RUN, device=device, logger=None)  # fmt: skip
    finally:
        ops.init_weights = initialise
    return {"G": networks[0].state_dict(), "D": networks[3].state_dict()}


def _without_ema(MODEL: Any) -> Any:
    copy = type(MODEL)()
    vars(copy).update(vars(MODEL))
    copy.apply_g_ema = False
    return copy
