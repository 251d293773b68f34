"""What the classifier is shown of earlier tasks, by name: adding a strategy is adding a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The bounds that every other strategy lies between.
LOWER, UPPER = "fine_tune", "joint"


@dataclass(frozen=True)
class Strategy:
    """A way to train a classifier on one task after another.

    Attributes:
        past: what it sees of the classes of earlier tasks: nothing, their real images, or generated ones.
        method: `RCAS.method` of the GAN that generates them; None without one.
        distils: whether old classes are learned from the previous classifier (`losses.distillation`), and not by cross-entropy.
        asks_classifier: whether the GAN's method takes the classifier (`RCAS.classifier`).
    """

    past: Literal["nothing", "real", "generated"]
    method: str | None = None
    distils: bool = False
    asks_classifier: bool = False


STRATEGIES: dict[str, Strategy] = {
    LOWER: Strategy("nothing"),
    "replay": Strategy("generated", "fine_tune"),
    "gan_memory": Strategy("generated", "gan_memory"),
    "feature_replay": Strategy("generated", "feature_replay", distils=True, asks_classifier=True),
    UPPER: Strategy("real"),
    # replay by the GANs of the other methods, where they are asked for
    "class_swap": Strategy("generated", "class_swap"),
    "bn_propagation": Strategy("generated", "bn_propagation"),
    "piggyback": Strategy("generated", "piggyback"),
}
#: What is compared where a plan names none.
DEFAULT = (LOWER, "replay", "gan_memory", "feature_replay", UPPER)
