"""The checked content of `swap_metrics.json` and `edits.json`: a run's folder may come from somebody else."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, RootModel, model_validator

from rcas_plugin.record import BestState, FromFile


def _known(value: Any) -> Any:
    """None for a figure that is not finite: a GAN that has diverged has none, and Python writes NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


#: A share or a distance.
Figure = Annotated[float, Field(ge=-1e15, le=1e15)]
#: The same; None where it is not known.
FigureOrNone = Annotated[Figure | None, BeforeValidator(_known)]
#: A step or a label, as a key in JSON.
Number = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Count = Annotated[int, Field(ge=0, le=10**15)]
Figures = dict[str, FigureOrNone]


class LabelFigures(FromFile):
    """The figures of one label at one moment."""

    label: Count
    name: str = Field(alias="class")
    part: str
    recognised: FigureOrNone
    frechet_distance: FigureOrNone
    kernel_distance: FigureOrNone
    precision: FigureOrNone
    recall: FigureOrNone
    density: FigureOrNone
    coverage: FigureOrNone
    # not in files of earlier versions
    kid: FigureOrNone = None
    kid_error: FigureOrNone = None
    diversity: FigureOrNone = None
    entropy: FigureOrNone = None


class WorstLabel(FromFile):
    """The remaining label with the worst value of a figure."""

    label: Count
    name: str = Field(alias="class")
    value: FigureOrNone


class SecondMoment(FromFile):
    """The figures of one moment by the second judge."""

    new: Figures
    old: Figures
    remaining: Figures


class Neighbours(FromFile):
    authentic: dict[Number, FigureOrNone] = Field(default_factory=dict)


class Moment(FromFile):
    """The figures of one moment of a swap (`rcas_plugin.metrics.swap`)."""

    elapsed_s: Annotated[float, Field(ge=0, le=1e12)]
    evaluation_s: Annotated[float, Field(ge=0, le=1e12)]
    new: Figures
    old: Figures
    remaining: Figures
    labels: list[LabelFigures]
    confusion: dict[Number, list[Count]]
    neighbours: Neighbours = Field(default_factory=Neighbours)
    worst: dict[str, WorstLabel] = Field(default_factory=dict)
    second: SecondMoment = Field(default=None)  # type: ignore[assignment]  # missing, but never null


class Judged(FromFile):
    """The classifier that the figures come from."""

    classes: list[str]
    accuracy: Figure
    held_out: Count
    accuracy_by_class: dict[str, Figure]
    about: str


class Slot(FromFile):
    new: str
    old: str | None


class Metrics(FromFile):
    """The whole `swap_metrics.json`."""

    judge: Judged
    second_judge: Judged = Field(default=None)  # type: ignore[assignment]  # missing, but never null
    images_a_label: Count
    labels: list[str]
    slots: dict[Number, Slot]
    before: Moment = Field(default=None)  # type: ignore[assignment]  # missing, but never null
    steps: Annotated[dict[Number, Moment], Field(min_length=1)]
    best: BestState = Field(default=None)  # type: ignore[assignment]  # runs of version 0.1 have none

    @model_validator(mode="after")
    def _consistent(self) -> Metrics:
        moments = [*self.steps.values(), *([self.before] if self.before is not None else [])]
        numbers = [*self.slots, *(label for moment in moments for label in moment.confusion)]
        if any(int(label) >= len(self.labels) for label in numbers):
            raise ValueError("a label is named that labels does not hold")
        if any(len(row) != len(self.judge.classes) for moment in moments for row in moment.confusion.values()):
            raise ValueError("confusion does not have judge.classes")
        return self


class Edit(FromFile):
    """The change of one weight."""

    changed: Count
    of: Annotated[int, Field(ge=1, le=10**15)]
    relative: FigureOrNone = None


class Edits(RootModel[dict[str, dict[str, Edit]]]):
    """The whole `edits.json`: role -> weight -> its change."""


def as_json(content: Any) -> dict[str, Any]:
    """A checked file's content as JSON, with the keys that are in the file and no defaults."""
    return dict(content.model_dump(mode="json", by_alias=True, exclude_unset=True))
