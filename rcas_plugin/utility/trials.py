"""What is trained and compared: the conditions, the options, and one training of the grid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rcas_plugin.report.utility import ALONE, AUGMENTED, BOTH, GENERATED, REAL
from rcas_plugin.utility.photographs import PATTERN

#: Images of the new class, where there are as many; all that there are come on top.
SIZES = (10, 25, 50, 200)
#: Generated images of a class, as multiples of the real ones that a remaining class has on average.
AMOUNTS = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Condition:
    """What a classifier is shown: real images, augmented ones, generated ones."""

    real: bool = True
    augmented: bool = False
    generated: bool = False


CONDITIONS: dict[str, Condition] = {
    REAL: Condition(),
    AUGMENTED: Condition(augmented=True),
    GENERATED: Condition(generated=True),
    BOTH: Condition(augmented=True, generated=True),
    ALONE: Condition(real=False, generated=True),
}


@dataclass(frozen=True)
class Options:
    """The options of a comparison.

    Attributes:
        sizes: images of the new class, ascending.
        seeds: how many.
        amounts: of generated images, ascending; multiples of a remaining class's mean number of real images.
        steps: of one training.
        batch_size: of one training.
        generated: the most generated images of a class.
        flip: whether augmentation mirrors images.
        everywhere: whether generated images of every class are shown, and not of the new one alone.
        group: the regular expression that names a file's photograph.
    """

    sizes: tuple[int, ...] = SIZES
    seeds: int = 3
    amounts: tuple[float, ...] = AMOUNTS
    steps: int = 300
    batch_size: int = 64
    generated: int = 1000
    flip: bool = True
    everywhere: bool = True
    group: str = PATTERN

    def digest(self, *origins: str) -> str:
        """A name for the trainings of these options on some data and generator; sizes, seeds and amounts are each file's own."""
        about = [self.steps, self.batch_size, self.generated, self.flip, self.everywhere, self.group, *origins]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        real: images of the new class; 0 where no real image is shown.
        condition: a key of `CONDITIONS`.
        seed: draws the images, the held-out part and the training.
        amount: of generated images.
        held_out: true where it is judged on a held-out part of the training images, to choose the amount; else on the test.
    """

    real: int
    condition: str
    seed: int
    amount: float = 0.0
    held_out: bool = False

    def file(self, folder: Path) -> Path:
        condition = self.condition.replace(" + ", "-").replace(" ", "-")
        judged = "held-out" if self.held_out else "test"
        return folder / f"{condition}-{self.real}-seed-{self.seed}-{self.amount:g}x-{judged}.json"


def choosing(real: int, seed: int, options: Options) -> Iterator[Trial]:
    """The trainings that an amount is chosen by: with augmentation, without generated images and with each amount of them."""
    yield Trial(real, AUGMENTED, seed, held_out=True)
    for amount in options.amounts:
        yield Trial(real, BOTH, seed, amount, held_out=True)


def trainings(options: Options) -> int:
    """How many trainings a comparison has."""
    return options.seeds * (len(options.sizes) * (1 + len(options.amounts) + len(CONDITIONS) - 1) + 1)
