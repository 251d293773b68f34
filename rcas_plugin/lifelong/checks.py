"""What `rcas classify` refuses at its start, and not only hours later, where a GAN is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import compare
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan
from rcas_plugin.labels import DataClasses, LabelPlan, resolve_labels
from rcas_plugin.lifelong.generators import base_config, task_section
from rcas_plugin.lifelong.plan import Plan
from rcas_plugin.lifelong.strategies import STRATEGIES
from rcas_plugin.record import Record, read_record
from rcas_plugin.registry import methods
from rcas_plugin.sampling.build import Builder, is_trained_embedded, key_of_main
from rcas_plugin.settings import CommonSettings, parse_settings
from rcas_plugin.studiogan.locate import find_studiogan
from rcas_plugin.widen import tables_to_widen

#: Keys of the RCAS section that follow from the plan: which classes, under which labels, by which method and classifier.
SET_HERE = ("method", "swap", "add", "classes", "classifier", "labels", "new_data", "remaining")
#: Keys of MODEL that say nothing of what a checkpoint's tensors are.
_NOT_OF_SHAPE = ("apply_g_ema", "g_ema_decay", "g_ema_start", "g_init", "d_init")


def check_strategies(plan: Plan, steps: int | None = None, gan: Gan | None = None) -> None:
    """Raise `RcasError` where a strategy's method is not there, or cannot do what the plan's `gan.rcas` asks of it.

    Args:
        plan: as it was read.
        steps: of each later task's GAN, where the config is known.
        gan: new networks of the config, with a label for every class (`check_gan`).
    """
    for name in plan.strategies:
        method = STRATEGIES[name].method
        if method is None:
            continue
        if method not in methods:
            raise RcasError(f"strategies: {name} needs the method {method!r}; there are: {methods.names()}")
        for key in plan.gan.rcas.get(name, {}):
            if key in SET_HERE:
                raise RcasError(f"gan.rcas.{name}.{key}: rcas classify sets this key itself; leave it out")
        # the last task's classes are taught to no GAN; where there are two tasks alone, the keys are still to be right
        for task in range(1, max(2, len(plan.tasks) - 1)):
            try:
                _check_task(plan, name, method, task, steps, gan)
            except RcasError as error:
                raise RcasError(f"gan.rcas.{name}: {error}") from None


def _check_task(plan: Plan, name: str, method: str, task: int, steps: int | None, gan: Gan | None) -> None:
    """Raise `RcasError` where the swap that teaches a task would be refused; the classifier's file is not there yet."""
    settings = parse_settings(task_section(method, plan.tasks[task], plan.gan.rcas.get(name, {}), None))
    labels = _labels(plan, task, settings)
    if steps is not None:
        methods[method].check(settings, labels, steps)
    if gan is not None:
        states = {role: network.state_dict() for role, network in gan.networks.items()}
        methods[method].check_networks(settings, labels, gan, states)


def _labels(plan: Plan, task: int, settings: CommonSettings) -> LabelPlan:
    """The labels of the swap that teaches a task: only its own classes have images, and later ones had none yet."""
    new = sorted(plan.tasks[task])
    recorded = [*sorted(plan.tasks[0]), *(name for names in plan.tasks[1:] for name in names)]
    dropped = {*plan.classes} - {*plan.seen(task - 1)}
    shown = methods[settings.method].shown(settings)
    return resolve_labels(
        settings, len(recorded), DataClasses(tuple(new), (1,) * len(new)), recorded, dropped=dropped, shown=shown
    )


def check_gan(plan: Plan, config: Mapping[str, Any], studiogan: Path | None) -> Gan:
    """New networks of the plan's GAN, with a label for every class.

    StudioGAN's are built in this process, as they are again where their images are drawn; that changes torch on a machine without
    a GPU (`studiogan.activation`).

    Args:
        plan: as it was read.
        config: the content of its `gan.cfg`.
        studiogan: the root folder of a StudioGAN elsewhere.

    Raises:
        RcasError: nothing here can train that GAN, it cannot get more labels, or the plan's `gan.ckpt` cannot be taken up.
    """
    embedded = is_trained_embedded(config)
    if not embedded and config["DATA"]["img_size"] == 16 and config.get("MODEL", {}).get("backbone", "resnet") == "resnet":
        raise RcasError(
            f"gan.cfg: the embedded loop trains no config with {key_of_main(config)}, and StudioGAN has no resnet at 16 "
            "pixels; have that key as in configs/classify/mnist_gan.yaml, or take images of 32 pixels"
        )
    source = None if embedded else find_studiogan(studiogan)
    builder = Builder(Path(plan.gan.cfg or ""), base_config(config, len(plan.tasks[0]), None), source)
    try:
        first, gan = builder.build(len(plan.tasks[0])), builder.build(len(plan.classes))
        states = {role: network.state_dict() for role, network in first.networks.items()}
        tables_to_widen(gan, states, plan.tasks[0], plan.classes[len(plan.tasks[0]) :])
    except RcasError as error:
        raise RcasError(f"gan.cfg: {re.sub('^--?[a-z]+: ', '', str(error))}") from None
    if plan.gan.ckpt is not None:
        record = read_record(plan.gan.ckpt)
        _check_record(plan, record, plan.gan.ckpt)
        _check_tensors(plan, builder, first, record, plan.gan.ckpt)
    return gan


def _check_record(plan: Plan, record: Record, ckpt: str) -> None:
    """Raise `RcasError` unless a checkpoint is of the first task's classes, in one state."""
    if sorted(record.labels) != sorted(plan.tasks[0]):
        raise RcasError(
            f"gan.ckpt: {ckpt} records the classes {', '.join(record.labels) or 'of no label'}; give a checkpoint of the "
            f"first task's: {', '.join(plan.tasks[0])}"
        )
    if record.swaps and record.swaps[-1].apart:
        raise RcasError(
            f"gan.ckpt: the labels of {ckpt} have a state of the generator each ({record.swaps[-1].method}), and later tasks "
            "start from one; give the checkpoint that its first such swap started from"
        )
    if record.dropped:
        raise RcasError(
            f"gan.ckpt: {ckpt} has no images for its labels {', '.join(sorted(record.dropped))}; give a checkpoint that was "
            "trained on every class of the first task"
        )


def _check_tensors(plan: Plan, builder: Builder, first: Gan, record: Record, ckpt: str) -> None:
    """Raise `RcasError` unless a checkpoint is of the config's networks: by what it records, and by its tensors."""
    model, recorded = builder.config.get("MODEL", {}), (record.config or {}).get("MODEL", {})
    for key, value in recorded.items():
        if key not in _NOT_OF_SHAPE and key in model and model[key] != value:
            raise RcasError(
                f"gan.ckpt: {ckpt} was trained with MODEL.{key}: {value}, and gan.cfg has {model[key]}; "
                "take the config that trained it"
            )
    try:
        checkpoint = Checkpoint.read(ckpt)
        for network, role in (("G", "generator"), ("D", "discriminator")):
            compare(checkpoint.folded.states[role], first.networks[role].state_dict(), checkpoint.files[network],
                    model.get("backbone", "resnet"))  # fmt: skip
    except RcasError as error:
        raise RcasError(f"gan.ckpt: {str(error).removeprefix('-ckpt: ')}") from None
