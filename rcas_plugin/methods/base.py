"""The contract of every method: a small class with no-op defaults; a method overrides only what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.replay import ReplayedBatches
from rcas_plugin.methods.retain import RetainLoss
from rcas_plugin.settings import CommonSettings
from rcas_plugin.weights.adapters import load_plain, rebuild_adapters
from rcas_plugin.weights.label_bound import find_label_bound


@dataclass(frozen=True)
class Context:
    """The facts of a run that a method is given.

    Attributes:
        settings: the `RCAS` section, of the method's `Settings`.
        plan: which class stands behind which label.
        seed: of everything that the method draws.
        total_steps: of the run; 0 where that is not known.
        directory: where the run keeps its files; None where nothing is to be written (or not by this process).
        log: says a line to the user.
        real_images: (label, n) -> up to n real images (n, channels, height, width) in [-1, 1] that training shows under the
            label; None where the data are not at hand.
        frozen: the names of D's parameters that stay as they are (StudioGAN's `--freezeD`).
    """

    settings: CommonSettings
    plan: LabelPlan
    seed: int = 0
    total_steps: int = 0
    directory: Path | None = None
    log: Callable[[str], None] = print
    real_images: Callable[[int, int], Tensor] | None = None
    frozen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Batch:
    """The images, labels and outputs of one update of G or D, as its loss is computed.

    Attributes:
        step: the step of training, from 0.
        fake_images: (n, channels, height, width), in [-1, 1], as D saw them: augmented where the config says so.
        fake_labels: (n,).
        real_images: likewise; None in the generator's turn.
        real_labels: likewise.
        latents: (n, z_dim) that the fakes were made from; None where they are not at hand.
        raw_fakes: (n, channels, height, width) as G made them, before any augmentation; with G's gradient in its own turn.
        fake_outputs: D's dictionary for the fakes (`adv_output`, `h`, …).
        real_outputs: likewise for the real images; None in the generator's turn.
    """

    step: int
    fake_images: Tensor
    fake_labels: Tensor
    real_images: Tensor | None = None
    real_labels: Tensor | None = None
    latents: Tensor | None = None
    raw_fakes: Tensor | None = None
    fake_outputs: Mapping[str, Any] | None = None
    real_outputs: Mapping[str, Any] | None = None


class Method:
    """A way to bring a new class into a label slot of a pre-trained GAN.

    `rcas_plugin.run.lifecycle` makes the calls, for StudioGAN's loop and for the embedded one, in this order:

    1. `check` and `check_networks`, before anything is written.
    2. `attach`: the networks get the shape that the method trains. To start, to go on, and to evaluate.
    3. `load`, then `prepare`: values, once, where a swap starts. A run that goes on loads its checkpoint in their place.
    4. `trained`, `slot_views`: what moves, asked when the optimisers are there and again after each step.
    5. `fakes_of`, then `discriminator_loss` or `generator_loss` at each update; `averaged` where G has a moving average;
       `after_step`.
    6. `record` at each save; `finish` after the last.

    Attributes:
        Settings: the keys of its `RCAS` section: those that every method has (`CommonSettings`), or a subclass with more.
        presets: named sets of values for its keys; the one of the name that it is registered under is its default.
        former_presets: what the name of a preset meant in an earlier version; a run that recorded it goes on with those values.
        settings: the run's section, an object of `Settings`; a subclass with keys of its own repeats the annotation.
        changes_labels: whether the GAN may have more or fewer labels than the pre-trained one.
        draws: the labels of a training batch, real and generated: `all`, or `new` for the slots alone. What is judged has all.
        draws_exactly: whether new classes have `RCAS.share` of a batch and no more, however many they are.
        apart: whether a state of its generator is one for the slots alone, and every other label is made by an earlier state
            (`rcas_plugin.methods.tasks_apart`).
        gan: the networks, from `attach` on.
        retained: the loss that keeps the remaining labels, where `RCAS.retain` asks for it, before `prepare`.
        replay: draws the remaining labels' real images, where `RCAS.remaining_data` asks for it, before `prepare`.
    """

    Settings: ClassVar[type[CommonSettings]] = CommonSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    former_presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    changes_labels: ClassVar[bool] = False
    draws: ClassVar[Literal["all", "new"]] = "all"
    draws_exactly: ClassVar[bool] = False
    apart: ClassVar[bool] = False

    settings: CommonSettings
    gan: Gan

    def __init__(self, context: Context) -> None:
        if not isinstance(context.settings, self.Settings):
            raise TypeError(f"{type(self).__name__} takes {self.Settings.__name__}, not {type(context.settings).__name__}")
        self.context, self.settings = context, context.settings
        self.retained: RetainLoss | None = None
        self.replay: ReplayedBatches | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a method that was written for the contract of version 0.1: its calls would never come."""
        super().__init_subclass__(**kwargs)
        for name, successor in _GONE.items():
            if name in vars(cls):
                raise RcasError(f"{cls.__qualname__}.{name} is not called any more; {successor} (CONTRIBUTING.md, A new method)")

    @classmethod
    def check(cls, settings: Any, plan: LabelPlan, total_steps: int) -> None:
        """Raise `RcasError` where the method cannot do what the section asks for; nothing has been built or written yet.

        Args:
            settings: the `RCAS` section, of the method's own `Settings`; a subclass says so in place of `Any`.
            plan: which class stands behind which label.
            total_steps: of the run.
        """

    @classmethod
    def check_networks(cls, settings: Any, plan: LabelPlan, gan: Gan, states: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise `RcasError` where the method cannot work on the config's networks; nothing has been written yet.

        Args:
            settings: the `RCAS` section, as in `check`.
            plan: which class stands behind which label.
            gan: networks of the config, without a moving average, on the CPU; their weights mean nothing.
            states: `generator` and `discriminator` -> state dict of the pre-trained checkpoint, without adapters.
        """

    @classmethod
    def shown(cls, settings: CommonSettings) -> Literal["all", "new"]:
        """Whose real images training takes from the data set: every label's, or the new classes' alone."""
        return "all" if cls.draws == "all" and settings.remaining_data == "real" else "new"

    @classmethod
    def drawn(cls, settings: CommonSettings, plan: LabelPlan) -> tuple[int, ...]:
        """The labels that fakes are drawn of in training, each entry alike."""
        draws = "new" if settings.remaining_data == "none" else cls.draws
        return plan.drawn(settings.drawn_share, draws, exactly=cls.draws_exactly)

    def attach(self, gan: Gan, checkpoint: Checkpoint) -> None:
        """Give newly built networks the shape that the method trains: adapters around weights, layers of its own.

        Shapes alone count: values come from `load` and `prepare`, or from the checkpoint of the run that goes on. By default the
        adapters that the checkpoint holds are put back, which is all that a run that goes on needs.

        Args:
            gan: newly built; changed in place.
            checkpoint: where a swap starts the pre-trained one, folded; else the run's, adapters and all.
        """
        rebuild_adapters(gan, checkpoint.states)

    def load(self, gan: Gan, checkpoint: Checkpoint) -> None:
        """Put the pre-trained weights into the networks: by default every tensor to its place, adapted or not.

        Args:
            gan: as `attach` has left it.
            checkpoint: the pre-trained one, folded.
        """
        for name, network in gan.networks.items():
            load_plain(network, checkpoint.states[name])

    def prepare(self, gan: Gan) -> None:
        """Change the networks, once: pre-trained weights are loaded, optimisers not yet built."""

    def trained(self, gan: Gan) -> Iterable[nn.Parameter]:
        """The parameters of G and D that move in the step to come: by default all of them."""
        return [*gan.generator.parameters(), *gan.discriminator.parameters()]

    def averaged(self, gan: Gan) -> Iterable[Tensor]:
        """The parameters and buffers of G that its moving average takes in at this step: by default all of them."""
        return [*gan.generator.parameters(), *gan.generator.buffers()]

    def slot_views(self, gan: Gan, role: str) -> list[Tensor]:
        """Views of the rows and columns of G or D that only the new classes reach, which `RCAS.label_lr` steps further.

        Args:
            gan: the networks.
            role: `generator` or `discriminator`.
        """
        slots = sorted(self.context.plan.slots)
        bound = [weight for weight in find_label_bound(gan, self.context.plan.num_classes) if weight.role == role]
        return [weight.of(slot).detach() for weight in bound for slot in slots]

    def fakes_of(self, latents: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What the fakes of an update are made from: by default what was drawn for it.

        Args:
            latents: (n, z_dim), on the generator's device.
            labels: (n,), likewise.
        """
        return latents, labels

    def generator_loss(self, batch: Batch) -> Tensor | None:
        """A term added to the generator's loss: by default the `class_swap` loss, where `RCAS.retain` asks for it."""
        if self.retained is None:
            return None
        return self.retained(self.gan, batch.fake_labels, batch.latents, batch.raw_fakes)

    def discriminator_loss(self, batch: Batch) -> Tensor | None:
        """A term added to the discriminator's loss."""
        return None

    def after_step(self, step: int) -> None:
        """Called after step `step` of training, from 0."""

    def finish(self, gan: Gan) -> None:
        """Called once after the last step, its checkpoint written."""

    def record(self) -> dict[str, Any]:
        """The method's own part of the record beside the run's checkpoints, under the key `method`."""
        return {}

    def random_sources(self) -> Mapping[str, torch.Generator]:
        """The sources of randomness of the method's own, by name: a run that goes on draws on from where it was."""
        return {name: source for part in (self.retained, self.replay) if part for name, source in part.random_sources.items()}


#: Calls of the contract of version 0.1, and what stands in their place.
_GONE = {
    "restore": "put what shapes the networks into attach",
    "keep": "the life cycle keeps the pre-trained generator itself",
    "optimizers_built": "answer trained and slot_views",
    "choose_trained": "answer trained",
    "scale_steps": "answer slot_views",
    "trainable": "return the parameters that move from trained",
    "fold": "register an adapter with a class method rebuild",
}
