"""The contract of every method: a small class with no-op defaults, so that a method says only what is its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.retain import RetainLoss
from rcas_plugin.registry import losses
from rcas_plugin.settings import RcasSettings
from rcas_plugin.weights.label_bound import find_label_bound, scale_label_steps, warm_down


@dataclass(frozen=True)
class Context:
    """What a method is told about the run.

    Attributes:
        settings: the `RCAS` section.
        plan: which class stands behind which label.
        seed: of everything that the method draws.
        total_steps: of the run; 0 where that is not known.
        directory: where the run keeps its files; None where nothing is to be written (or not by this process).
        log: says a line to the user.
        real_images: (label, n) -> up to n real images (n, channels, height, width) in [-1, 1] that training shows under the
            label; None where the data are not at hand.
    """

    settings: RcasSettings
    plan: LabelPlan
    seed: int = 0
    total_steps: int = 0
    directory: Path | None = None
    log: Callable[[str], None] = print
    real_images: Callable[[int, int], Tensor] | None = None


@dataclass(frozen=True)
class Batch:
    """What D has just judged.

    Attributes:
        step: the step of training, from 0.
        fake_images: (n, channels, height, width), in [-1, 1], as D saw them.
        fake_labels: (n,).
        real_images: likewise; None in the generator's turn.
        real_labels: likewise.
    """

    step: int
    fake_images: Tensor
    fake_labels: Tensor
    real_images: Tensor | None = None
    real_labels: Tensor | None = None


class Method:
    """A way to bring a new class into a label slot of a pre-trained GAN.

    The calls come in this order: `check` and `check_networks` before anything is written, `load` and `prepare` once (or
    `restore`, where an interrupted run goes on), `optimizers_built`, `trainable` per parameter at each change of turn, the losses
    at each update, `averaged` per tensor where G has a moving average, `after_step` after each step, `fold` when the networks are
    to be plain ones again.

    Attributes:
        changes_labels: whether the GAN may have more or fewer labels than the pre-trained one.
        freezes: whether `trainable` ever says no; several processes then look for parameters without a gradient.
    """

    changes_labels: ClassVar[bool] = False
    freezes: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        self.context = context
        self.gan: Gan | None = None
        self._retained: RetainLoss | None = None
        self._optimized: list[tuple[torch.optim.Optimizer, list[list[nn.Parameter]]]] = []

    @classmethod
    def check(cls, settings: RcasSettings, plan: LabelPlan, total_steps: int) -> None:
        """Raise `RcasError` where the method cannot do what the section asks for; nothing has been built or written yet."""

    @classmethod
    def check_networks(cls, settings: RcasSettings, plan: LabelPlan, gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise `RcasError` where the method cannot work on the config's networks; nothing has been written yet.

        Args:
            settings: the `RCAS` section.
            plan: which class stands behind which label.
            gan: networks of the config, without a moving average, on the CPU; their weights mean nothing.
            states: `generator` and `discriminator` -> state dict of the pre-trained checkpoint, without adapters.
        """

    def load(self, gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Put the pre-trained weights into the networks.

        Args:
            gan: newly built.
            states: `generator`, `discriminator` and, where G has a moving average, `ema` -> state dict, without adapters.
        """
        for name, network in gan.networks.items():
            network.load_state_dict(states[name])
        self.keep(gan)

    def keep(self, gan: Gan) -> None:
        """Remember the networks, and the generator as it is for the `class_swap` loss; once, before anything is edited."""
        if self.gan is gan:
            return
        self.gan, self._retained = gan, self._retain(gan)
        if self._retained is not None and self.context.directory is not None:
            self._retained.save(self.context.directory)

    def _retain(self, gan: Gan) -> RetainLoss | None:
        settings, plan = self.context.settings, self.context.plan
        if not settings.retain or not plan.remaining:
            return None
        made: RetainLoss = losses["class_swap"](
            gan, plan, weight=settings.retain, seed=self.context.seed, accelerated=settings.accelerate
        )
        return made

    def prepare(self, gan: Gan) -> None:
        """Change the networks: pre-trained weights are loaded, optimisers not yet built."""
        self.keep(gan)

    def restore(self, gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Rebuild what an interrupted run needs, before its checkpoint is loaded into the networks.

        Args:
            gan: newly built.
            states: of the run's checkpoint, as in `load`, adapters and all.
        """
        self.gan, self._retained = gan, self._retain(gan)
        if self._retained is not None and self.context.directory is not None:
            self._retained.load(self.context.directory)

    def record(self) -> dict[str, Any]:
        """What the method itself records beside the run's checkpoints, under the key `method` of the record."""
        return {}

    def optimizers_built(self, gan: Gan, optimizers: Mapping[str, torch.optim.Optimizer], step: Callable[[], int]) -> None:
        """Called once with the optimiser of each role, before the first step.

        What is not trained leaves the optimisers, and the slot's parameters get their own step (`RCAS.label_lr`).

        Args:
            gan: the networks.
            optimizers: by role, `generator` and `discriminator`.
            step: the step of training that goes on, from 0.
        """
        self._optimized = [(one, [list(group["params"]) for group in one.param_groups]) for one in optimizers.values()]
        self.choose_trained(gan)
        self.scale_steps(gan, optimizers, step)
        for optimizer in optimizers.values():
            optimizer.register_load_state_dict_pre_hook(self._fresh_unless_it_fits)

    def _fresh_unless_it_fits(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any] | None:
        """A state of other parameters, from before a longer run put this step into another stage, is not loaded."""
        if _fits(optimizer, state):
            return None
        self.context.log("the checkpoint's optimiser trained other parameters than those of this step; it starts anew")
        return optimizer.state_dict()

    def choose_trained(self, gan: Gan) -> None:
        """Leave what `trainable` says in the optimisers, and let nothing else have a gradient; again at each change of that."""
        frozen = set()
        for role, network in ((GENERATOR, gan.generator), (DISCRIMINATOR, gan.discriminator)):
            for name, parameter in network.named_parameters():
                wanted = self.trainable(role, name)
                parameter.requires_grad_(wanted)
                if not wanted:
                    parameter.grad = None
                    frozen.add(parameter)
        for optimizer, groups in self._optimized:
            for group, parameters in zip(optimizer.param_groups, groups, strict=True):
                group["params"] = [parameter for parameter in parameters if parameter not in frozen]
            for parameter in frozen & optimizer.state.keys():
                del optimizer.state[parameter]

    def scale_steps(self, gan: Gan, optimizers: Mapping[str, torch.optim.Optimizer], step: Callable[[], int]) -> None:
        """Give the slot's own parameters their own step (`RCAS.label_lr`); arguments as `optimizers_built`'s."""
        settings, slots = self.context.settings.label_lr, sorted(self.context.plan.slots)
        bound = find_label_bound(gan, self.context.plan.num_classes)
        for role, optimizer in optimizers.items():
            multiplier: float = getattr(settings, role)
            if multiplier == 1:
                continue
            own = [weight for weight in bound if weight.role == role]
            scale_label_steps(optimizer, own, slots, multiplier_at(multiplier, settings.steps, step))
            if not own:
                self.context.log(f"label_lr: no label reaches a row or column of its own in the {role}; it has no effect there")

    def trainable(self, role: str, name: str) -> bool:
        """Whether a parameter of G or D (`role`: `generator`, `discriminator`) is trained."""
        return True

    def averaged(self, name: str) -> bool:
        """Whether G's moving average takes in the parameter or buffer `name` of G at this step."""
        return True

    def generator_loss(self, batch: Batch) -> Tensor | None:
        """A term added to the generator's loss: by default the `class_swap` loss, where `RCAS.retain` asks for it."""
        if self._retained is None or self.gan is None:
            return None
        return self._retained(self.gan, batch.fake_labels)

    def discriminator_loss(self, batch: Batch) -> Tensor | None:
        """A term added to the discriminator's loss."""
        return None

    def after_step(self, step: int) -> None:
        """Called after step `step` of training, from 0."""

    def fold(self, gan: Gan) -> None:
        """Turn whatever the method added back into plain weights."""


def multiplier_at(multiplier: float, steps: int, step: Callable[[], int]) -> Callable[[], float]:
    """The warmed-down multiplier at the step that goes on."""
    return lambda: warm_down(multiplier, steps, step())


def _fits(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> bool:
    """Whether an optimiser's state is one of parameters of the same numbers and shapes."""
    groups = list(zip(state["param_groups"], optimizer.param_groups, strict=True))
    if any(len(old["params"]) != len(new["params"]) for old, new in groups):
        return False
    shapes = {
        index: parameter.shape for old, new in groups for index, parameter in zip(old["params"], new["params"], strict=True)
    }
    return all(
        value.shape == shapes[index]
        for index, values in state["state"].items()
        for value in values.values()
        if isinstance(value, Tensor) and value.ndim
    )
