"""The plan of `rcas classify`, a YAML file: its keys, and the only way into them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name
from rcas_plugin.lifelong.strategies import DEFAULT, STRATEGIES
from rcas_plugin.settings.common import Section
from rcas_plugin.settings.sentences import sentence_of


class ClassifierKeys(Section):
    """The classifier and its training; the defaults are those of Genifer for CIFAR-100 (a ResNet-18)."""

    width: int = Field(64, gt=0, description="channels of the first of four stages; each next one has twice as many")
    depth: int = Field(2, gt=0, description="residual blocks of a stage")
    batch_size: int = Field(32, ge=2, description="images a step; with feature_replay half of them are generated")
    first_epochs: int = Field(100, gt=0, description="of the first task")
    epochs: int = Field(100, gt=0, description="of each later task, counted in half batches of its new images")
    first_steps: int | None = Field(None, gt=0, description="of the first task, in place of first_epochs")
    steps: int | None = Field(None, gt=0, description="of each later task, in place of epochs")
    first_lr: float = Field(0.1, gt=0, description="of the first task: SGD with Nesterov's momentum of 0.9")
    lr: float = Field(1e-4, gt=0, description="of later tasks: RAdam")
    weight_decay: float = Field(5e-4, ge=0, description="of both")
    flip: bool = Field(True, description="mirror every other image; false for digits and letters")
    shift: int = Field(4, ge=0, description="pixels that an image is moved by at the most, each way")
    memory: int = Field(500, gt=0, description="generated images of a class that are drawn for a task")


class LossKeys(Section):
    """The loss of later tasks with feature_replay, with Genifer's weights."""

    new: float = Field(0.02, ge=0, description="weight of the cross-entropy of new images, over all classes so far")
    distillation: float = Field(0.98, ge=0, description="weight of the distillation of the previous classifier's logits")
    features: float = Field(1.0, ge=0, description="weight of the distance to the previous classifier's hidden features")
    temperature: float = Field(1.0, gt=0, description="of the distillation")


class GanKeys(Section):
    """The GAN that generates the images of earlier tasks."""

    cfg: str | None = Field(None, description="StudioGAN config of the first task's GAN, relative to the plan")
    first_steps: int | None = Field(None, gt=0, description="of the first task's GAN; the config's total_steps by default")
    steps: int | None = Field(None, gt=0, description="of each later task; the config's total_steps by default")
    ckpt: str | None = Field(None, description="checkpoint folder of a GAN of the first task's classes, in place of training one")
    rcas: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="strategy -> keys of the RCAS section of its later tasks"
    )


class Plan(Section):
    """The keys of the plan."""

    data: str = Field(description="the data set: train/<class>/, and valid/<class>/ to test on; relative to the plan")
    tasks: list[list[str]] = Field(description="lists of class folders, in quotes where they are numbers; a list a task")
    strategies: list[str] = Field(default_factory=lambda: [*DEFAULT], description="what is compared")
    size: int = Field(32, ge=16, description="of the images in pixels; the GAN's DATA.img_size")
    seeds: int = Field(1, gt=0, description="how often everything is trained; intervals are over these")
    classifier: ClassifierKeys = Field(default_factory=ClassifierKeys)
    losses: LossKeys = Field(default_factory=LossKeys)
    gan: GanKeys = Field(default_factory=GanKeys)

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes in the order in which they are learned: the order of the classifier's logits."""
        return tuple(name for task in self.tasks for name in task)

    def seen(self, task: int) -> tuple[str, ...]:
        """The classes that are known after a task, from 0."""
        return tuple(name for names in self.tasks[: task + 1] for name in names)

    @property
    def replays(self) -> bool:
        """Whether a strategy needs a GAN."""
        return any(STRATEGIES[name].past == "generated" for name in self.strategies)

    def check(self) -> None:
        """Raise `RcasError` where keys do not go together."""
        if len(self.tasks) < 2 or not all(self.tasks):
            raise RcasError("tasks: give two tasks or more, each a list of at least one class folder")
        for name in self.classes:
            if not is_plain_name(name):
                raise RcasError(f"tasks: {name!r} is no name of a class folder; give names without slashes")
            if self.classes.count(name) > 1:
                raise RcasError(f"tasks: the class {name!r} is named twice; name each class in one task")
        allowed = ", ".join(STRATEGIES)
        for name in self.strategies or [""]:
            if name not in STRATEGIES:
                raise RcasError(f"strategies: {name!r} is unknown; allowed: {allowed}")
            if self.strategies.count(name) > 1:
                raise RcasError(f"strategies: {name!r} is named twice; name each strategy once")
        for name in self.gan.rcas:
            if name not in STRATEGIES or STRATEGIES[name].method is None:
                able = ", ".join(key for key, strategy in STRATEGIES.items() if strategy.method)
                raise RcasError(f"gan.rcas: {name!r} is no strategy with a GAN; allowed: {able}")
        if self.replays and self.gan.cfg is None:
            raise RcasError("gan.cfg: this key is missing; give the StudioGAN config of the first task's GAN")


def read_plan(path: Path, changes: Mapping[str, Any] | None = None) -> Plan:
    """The plan in a YAML file, checked; paths in it are made absolute.

    Args:
        path: of the file.
        changes: keys that take the place of the file's own.

    Raises:
        RcasError: the file cannot be read, or one sentence that names the key and what is allowed.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RcasError(f"{path} cannot be read ({' '.join(str(error).split())}); give the YAML file of a plan") from None
    if not isinstance(content, dict):
        raise RcasError(f"{path} is no plan; it holds keys: {', '.join(Plan.model_fields)}")
    try:
        plan = Plan.model_validate({**content, **(changes or {})})
    except ValidationError as error:
        raise RcasError(f"{path.name}: {sentence_of(error, Plan)}") from None
    plan.check()

    def absolute(text: str | None) -> str | None:
        return None if text is None else str((path.parent / text).resolve())

    gan = plan.gan.model_copy(update={"cfg": absolute(plan.gan.cfg), "ckpt": absolute(plan.gan.ckpt)})
    return plan.model_copy(update={"data": absolute(plan.data), "gan": gan})
