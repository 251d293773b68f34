"""`utility.json`: whether the generated images help a classifier, checked as a stranger's file, and in words.

The terminal and the report's page show the same rows and sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from rcas_plugin.metrics.schema import Count, Figure
from rcas_plugin.record import FromFile, read_checked

UTILITY = "utility.json"
#: The conditions of a comparison.
REAL, AUGMENTED, GENERATED = "real", "real + augmentation", "real + generated"
BOTH, ALONE = "real + augmentation + generated", "generated alone"
#: The gain of the new class's sensitivity that is aimed at, and at how many real images of it.
AIM, AIM_AT = 0.05, 25

Interval = tuple[Figure, Figure, Figure]
#: How each figure is called, and whether more of it is better.
NAMES = {
    "sensitivity": "sensitivity", "false_alarms": "false alarms", "worst_remaining": "worst remaining class",
    "macro_f1": "macro-F1",
}  # fmt: skip
HEADS = ("real images", "trained on", *NAMES.values(), "generated a class")


class Intervals(FromFile):
    """The figures of `rcas_plugin.metrics.detection`, or differences of them: value, and the ends of the 95 % interval."""

    sensitivity: Interval
    false_alarms: Interval
    worst_remaining: Interval
    macro_f1: Interval


class Row(FromFile):
    """One condition at one number of real images of the new class.

    Of generated images alone, the number that the generator saw where that is another in each row, else 0.
    """

    real: Count
    condition: str
    seeds: Annotated[int, Field(ge=1)]
    figures: Intervals
    generated: list[Count]


class Gain(FromFile):
    """The figures of one condition less those of another, paired by seed."""

    real: Count
    condition: str
    over: str
    figures: Intervals


class Amount(FromFile):
    """How an amount of generated images did on the held-out part of the training images."""

    real: Count
    amount: Figure
    generated: Count
    loss: Interval
    sensitivity: Interval
    chosen: Count


class Copies(FromFile):
    """The part of images that are nearer to a training image than any other training image is; None where not known."""

    generated: Figure | None
    test: Figure | None
    images: Count


class Utility(FromFile):
    """The whole `utility.json`.

    Attributes:
        new: the new class.
        classes: of the classifier.
        saw: real images of the new class that the generator was trained on; None where each row had a generator of its own.
        state: which state of the generator was drawn from.
        seeds: how many each row has at the most.
        interval: what the intervals are over, in words.
        test: test images of the new class, and of all classes.
        everywhere: true where generated images of every class were shown.
        remarks: what makes the figures better than they should be.
    """

    new: str
    classes: list[str]
    saw: Count | None
    state: str
    seeds: Annotated[int, Field(ge=1)]
    interval: str
    test: tuple[Count, Count]
    everywhere: bool
    remarks: list[str]
    rows: list[Row]
    gains: list[Gain]
    amounts: list[Amount]
    copies: Copies | None

    @model_validator(mode="after")
    def _consistent(self) -> Utility:
        if self.new not in self.classes:
            raise ValueError("new is none of classes")
        return self


def read_utility(folder: Path) -> Utility | None:
    """The comparison in a run's folder; None where there is none.

    Raises:
        RcasError: the file is damaged or none of the plugin's.
    """
    return read_checked(folder / UTILITY, Utility, "delete it, and run rcas utility again")


# in words -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """The part of the report on a comparison, which the page draws and the terminal prints."""

    heads: tuple[str, ...]
    rows: list[list[str]]
    caption: str
    sentences: list[str]
    remarks: list[str]


def utility_section(folder: Path) -> Section | None:
    """The section of a run whose folder holds `utility.json`, else None."""
    utility = read_utility(folder)
    return None if utility is None else section_of(utility)


def section_of(utility: Utility) -> Section:
    """A comparison as a table and sentences."""
    of_new, of_all = utility.test
    what = "every class" if utility.everywhere else f"{utility.new} alone"
    caption = (
        f"A small classifier of {len(utility.classes)} classes, trained anew for each row and tested on {of_all} real images, "
        f"{of_new} of them {utility.new}. Sensitivity and false alarms are of {utility.new}; generated images are of {what}. "
        f"Mean and 95 % interval {utility.interval}."
    )
    rows = [
        [_real(row), row.condition, *(_percent(getattr(row.figures, key)) for key in NAMES),
         _counts(row.generated)]
        for row in utility.rows
    ]  # fmt: skip
    return Section(HEADS, rows, caption, sentences(utility), [*utility.remarks, *_seen(utility)])


def sentences(utility: Utility) -> list[str]:
    """What the comparison says, most important first."""
    lines = [_gain(utility, gain) for gain in utility.gains if (gain.condition, gain.over) == (BOTH, AUGMENTED)]
    lines += [_aim(gain) for gain in utility.gains if (gain.condition, gain.over, gain.real) == (BOTH, AUGMENTED, AIM_AT)]
    lines += [_amounts(utility, real) for real in dict.fromkeys(amount.real for amount in utility.amounts)]
    for row in utility.rows:
        if row.condition == ALONE:
            by = f" (their generator saw {row.real} real ones)" if row.real else ""
            lines.append(f"Trained on generated images alone{by}, it has a sensitivity of {_percent(row.figures.sensitivity)} "
                         f"and a macro-F1 of {_percent(row.figures.macro_f1)} on real ones.")  # fmt: skip
    if utility.copies is not None and utility.copies.generated is not None:
        lines.append(_copies(utility, utility.copies, utility.copies.generated))
    return lines


def _gain(utility: Utility, gain: Gain) -> str:
    figures = gain.figures
    _, low, high = figures.sensitivity
    effect = "they help" if low > 0 else "they harm" if high < 0 else "no effect is shown, as the interval holds 0"
    lost = " The worst remaining class has lost." if figures.worst_remaining[2] < 0 else ""
    alarms = " False alarms have become more." if figures.false_alarms[1] > 0 else ""
    return (
        f"With {gain.real} real images of {utility.new}, generated images beside classical augmentation change its sensitivity "
        f"by {_points(figures.sensitivity)}: {effect}. False alarms change by {_points(figures.false_alarms)}, the worst "
        f"remaining class by {_points(figures.worst_remaining)}, macro-F1 by {_points(figures.macro_f1)}.{alarms}{lost}"
    )


def _aim(gain: Gain) -> str:
    value = gain.figures.sensitivity[0]
    if value >= AIM:
        return f"The aim of {100 * AIM:.0f} points at {AIM_AT} images is reached."
    return f"The aim of {100 * AIM:.0f} points at {AIM_AT} images is missed by {100 * (AIM - value):.1f} points."


def _amounts(utility: Utility, real: int) -> str:
    tried = [amount for amount in utility.amounts if amount.real == real]
    best = min(tried, key=lambda amount: amount.loss[0])
    shown = ", ".join(f"{f'{amount.amount:g}x' if amount.amount else 'none'} {amount.loss[0]:.3f}" for amount in tried)
    most = f"{best.amount:g}x ({best.generated} a class) helped most" if best.amount else "none helped: it is best without any"
    return f"Generated images with {real} real ones: {most}; loss on a held-out part of the training images: {shown}."


def _copies(utility: Utility, copies: Copies, share: float) -> str:
    real = "" if copies.test is None else f"; of the real test images {copies.test:.0%} are"
    warning = " They look like copies." if share > 0.9 else ""
    return (
        f"{share:.0%} of {copies.images} generated images of {utility.new} are nearer to a training image than any other "
        f"training image is{real}, and near 100 % would mean copies.{warning}"
    )


def _seen(utility: Utility) -> list[str]:
    fewer = sorted({row.real for row in utility.rows if utility.saw is not None and 0 < row.real < utility.saw})
    lines = []
    if fewer:
        numbers = ", ".join(str(real) for real in fewer)
        lines.append(
            f"The generator saw all {utility.saw} real images of {utility.new}: rows of {numbers} real images flatter the "
            f"generated ones, and only those of {utility.saw} are fair. A swap that is trained on as few makes the others fair."
        )
    if utility.amounts:
        lines.append(
            "Amounts were chosen on a held-out part of the training images, never on the test images; the generator has seen "
            "that part too, so the choice leans to more generated images."
        )
    return lines


def _real(row: Row) -> str:
    if row.condition != ALONE:
        return str(row.real)
    return f"none (seen: {row.real})" if row.real else "none"


def _percent(interval: Sequence[float]) -> str:
    value, low, high = (100 * end for end in interval)
    return f"{value:.1f} %" if low == value == high else f"{value:.1f} % [{low:.1f}, {high:.1f}]"


def _points(interval: Sequence[float]) -> str:
    value, low, high = (100 * end for end in interval)
    return f"{value:+.1f} points" if low == value == high else f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _counts(counts: Sequence[int]) -> str:
    if not any(counts):
        return "none"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
