"""The contract of every method: a small class with no-op defaults, so that a method says only what is its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rcas_plugin.gan import Gan
from rcas_plugin.labels import LabelPlan
from rcas_plugin.settings import RcasSettings


@dataclass(frozen=True)
class Context:
    """What a method is told about the run.

    Attributes:
        settings: the `RCAS` section.
        plan: which class stands behind which label.
        seed: of everything that the method draws.
        directory: where the run keeps its files; None where nothing is to be written (or not by this process).
        log: says a line to the user.
    """

    settings: RcasSettings
    plan: LabelPlan
    seed: int = 0
    directory: Path | None = None
    log: Callable[[str], None] = print


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

    The calls come in this order: `prepare` once (or `restore`, where an interrupted run goes on), `trainable` per parameter at
    each change of turn, the losses at each update, `after_step` after each step, `fold` when the networks are saved for good.
    """

    def __init__(self, context: Context) -> None:
        self.context = context

    def prepare(self, gan: Gan) -> None:
        """Change the networks: pre-trained weights are loaded, optimisers not yet built."""

    def restore(self, gan: Gan) -> None:
        """Rebuild what an interrupted run needs, before its checkpoint is loaded."""

    def trainable(self, role: str, name: str) -> bool:
        """Whether a parameter of G or D (`role`: `generator`, `discriminator`) is trained."""
        return True

    def generator_loss(self, batch: Batch) -> Tensor | None:
        """A term added to the generator's loss."""
        return None

    def discriminator_loss(self, batch: Batch) -> Tensor | None:
        """A term added to the discriminator's loss."""
        return None

    def after_step(self, step: int) -> None:
        """Called after step `step` of training, from 0."""

    def fold(self, gan: Gan) -> None:
        """Turn whatever the method added back into plain weights."""
