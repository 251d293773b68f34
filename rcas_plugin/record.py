"""`rcas.json`: the record of a run under the plugin, beside its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator

from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name, write_json
from rcas_plugin.labels import LabelPlan
from rcas_plugin.registry import methods
from rcas_plugin.settings import CommonSettings

#: Written beside the checkpoint files by every run under the plugin: class behind each label, and the swap if it was one.
RECORD = "rcas.json"

Model = TypeVar("Model", bound=BaseModel)


class FromFile(BaseModel):
    """A part of a file that somebody else may have written: each known key of its own type, unknown keys kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class SwappedSlot(FromFile):
    """The class of one label before and after a swap; `old` is None where the label was added, or its class has moved."""

    old: str | None
    new: str


class SlotFigures(FromFile):
    """The figures of one new class's images (`rcas_plugin.metrics.swap`); None where one was not known."""

    recognised: float | None = None
    frechet_distance: float | None = None


class BestState(FromFile):
    """The state that a run keeps as its best (`rcas_plugin.metrics.best`): its step, and why it is that one."""

    step: Annotated[int, Field(ge=0, lt=10**9)]
    why: str = ""


class ImagesSeen(FromFile):
    """What the images were that a run was trained on, before they were prepared.

    Attributes:
        gray: whether all of them were gray.
        size: the commonest (width, height) in pixels.
    """

    gray: bool
    size: tuple[PositiveInt, PositiveInt]


class LineageSwap(FromFile):
    """One swap of a lineage. What is None is known from the next swap on, which starts from this one's checkpoint.

    Attributes:
        method: `RCAS.method`.
        slots: label -> its class before and after.
        labels_before: the class behind each label when the swap started.
        labels: the class behind each label since then.
        steps: how many it took.
        run: the name of its run, to be shown.
        task: the name of its file in `tasks/`; None where there is none.
        sha256: of that file.
        figures: label -> the figures of the new class in the state that the next swap started from; empty where it has none.
        bytes: of that file.
        parameters: that were trained for it in G, where its method says so (`TasksApart.record`).
        apart: whether its state is one for its own labels alone, of a method whose tasks lie apart (`Method.apart`).
        unused: the labels that had no images when the swap started; None where nothing recorded it.
    """

    method: str
    slots: dict[int, SwappedSlot]
    labels_before: tuple[str, ...]
    labels: tuple[str, ...]
    steps: int | None = Field(None, ge=0)
    run: str | None = None
    task: str | None = None
    sha256: str | None = None
    figures: dict[int, SlotFigures] = Field(default_factory=dict)
    bytes: int | None = Field(None, ge=0)
    parameters: int | None = Field(None, ge=0)
    apart: bool = False
    unused: tuple[int, ...] | None = None

    @field_validator("task")
    @classmethod
    def _is_no_path(cls, name: str | None) -> str | None:
        if name is not None and not is_plain_name(name):
            raise ValueError("it is the name of a file in tasks/, and no path")
        return name

    @classmethod
    def of(cls, method: str, slots: Mapping[int, str], before: Sequence[str], labels: Sequence[str]) -> LineageSwap:
        """A swap as it starts: label -> new class, and the class of each label before and after it."""
        replaced = {label: name for label, name in enumerate(before) if label in slots and name not in labels}
        swapped = {label: SwappedSlot(old=replaced.get(label), new=slots[label]) for label in sorted(slots)}
        swap = cls(method=method, slots=swapped, labels_before=tuple(before), labels=tuple(labels))
        return swap.model_copy(update={"apart": True}) if lies_apart(method) else swap  # other records stay as they were

    @classmethod
    def of_plan(cls, method: str, plan: LabelPlan) -> LineageSwap:
        """A swap as it starts."""
        return cls.of(method, {label: plan.names[label] for label in plan.slots}, plan.names_before, plan.names)


@dataclass(frozen=True)
class Inheritance:
    """The part of a swap's lineage that comes from the checkpoint it starts from (`rcas_plugin.checkpoints.lineage.inherit`).

    Attributes:
        swaps: the swaps before it, oldest first.
        base_sha256: of its file `tasks/base.safetensors`.
        discriminator_sha256: of its file `tasks/discriminator.safetensors`; None where it has none.
        dropped: the classes that have no images there (`Record.dropped`); None where it records no labels.
    """

    swaps: tuple[LineageSwap, ...] = ()
    base_sha256: str | None = None
    discriminator_sha256: str | None = None
    dropped: frozenset[str] | None = None


class Record(FromFile):
    """The record of a run; every key may be missing.

    Attributes:
        labels: the class behind each label; empty where that is not known.
        labels_before: of a swap, the class behind each label of the pre-trained GAN.
        slots: of a swap, label -> its new class.
        remaining: of a swap, the labels that stay; None for a plain run.
        unused: of a widened checkpoint, the labels that have had no images yet (`rcas_plugin.widen`).
        swap: of a swap, its RCAS section with every default.
        source: of a swap, the checkpoint folder that it started from.
        config: the other sections of the config.
        embedded: whether the embedded loop trained it, on its own networks.
        images: what its training images were; None where that was not looked at.
        seconds_per_step: as measured; 0 where it is not known.
        frozen_blocks: of a swap, the first blocks of D that stay as they are (`--freezeD`).
        rcas_plugin: the version that wrote it.
        folded_from: of a folded checkpoint, the folder of its run.
        method: what the method itself records.
        lineage: of a swap, every swap since the GAN was pre-trained, oldest first, this one last; see `swaps`.
        base_sha256: of the file `tasks/base.safetensors` beside it.
        discriminator_sha256: of the file `tasks/discriminator.safetensors`, where the tasks lie apart.
        best: of a swap that is judged, the state that its best weights hold; None before there is one, and where nothing judges.
    """

    labels: tuple[str, ...] = ()
    labels_before: tuple[str, ...] = ()
    slots: dict[int, str] = Field(default_factory=dict)
    remaining: tuple[int, ...] | None = None
    unused: tuple[int, ...] = ()
    swap: dict[str, Any] | None = None
    source: str | None = None
    config: dict[str, dict[str, Any]] | None = None
    embedded: bool = False
    images: ImagesSeen | None = None
    seconds_per_step: float = Field(0.0, ge=0)
    frozen_blocks: int = Field(0, ge=0)
    rcas_plugin: str | None = None
    folded_from: str | None = None
    method: dict[str, Any] = Field(default_factory=dict)
    lineage: tuple[LineageSwap, ...] = ()
    base_sha256: str | None = None
    discriminator_sha256: str | None = None
    best: BestState | None = None

    @property
    def swaps(self) -> tuple[LineageSwap, ...]:
        """The swaps of the lineage, oldest first; where a version recorded none, its own swap alone."""
        if self.lineage or self.swap is None:
            return self.lineage
        method = str(self.swap.get("method", "class_swap"))
        return (LineageSwap.of(method, self.slots, self.labels_before, self.labels),)

    @property
    def parameters(self) -> dict[str, int]:
        """The numbers of parameters of the run's own task, by role, and of its base; empty where its method says nothing."""
        counts = self.method.get("parameters")
        return {role: n for role, n in counts.items() if isinstance(n, int)} if isinstance(counts, dict) else {}

    @property
    def dropped(self) -> frozenset[str]:
        """Classes of labels that have no images: those that the swap has left without, or that nothing was trained on yet."""
        every = range(len(self.labels))
        used = {*every} - {*self.unused} if self.remaining is None else {*self.remaining, *self.slots}
        return frozenset(self.labels[label] for label in every if label not in used)

    def is_of(self, method: str) -> bool:
        """True where a swap by this method recorded it."""
        return self.swap is not None and self.swap.get("method") == method

    @property
    def former(self) -> frozenset[str]:
        """Classes that the swap has replaced."""
        return frozenset(self.labels_before) - frozenset(self.labels)


def read_checked(path: Path, model: type[Model], cure: str) -> Model | None:
    """The content of a JSON file, checked; None where there is no file.

    Raises:
        RcasError: one sentence with the file, the key and the cure.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RcasError(f"{path} cannot be read ({error.strerror}); {cure}") from None
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        key = ".".join(str(part)[:40] for part in first["loc"])
        raise RcasError(f"{path} cannot be read ({f'{key}: ' if key else ''}{first['msg']}); {cure}") from None


def read_record(folder: str | Path) -> Record:
    """The record of a run beside its checkpoint; an empty record where there is none.

    Raises:
        RcasError: the file is damaged or none of the plugin's.
    """
    path = Path(folder) / RECORD
    return read_checked(path, Record, "delete it, and name the classes in RCAS.labels") or Record()


def lies_apart(method: str) -> bool:
    """Whether a method's state of the generator is one for its own labels alone (`Method.apart`); False of an unknown one."""
    return method in methods and methods[method].apart


def plain_record(names: Sequence[str]) -> dict[str, Any]:
    """The record of a run without a swap: the class behind each label."""
    return {"labels": list(names), "rcas_plugin": version("rcas-plugin")}


def swap_record(
    settings: CommonSettings, plan: LabelPlan, source: str | Path, inherited: Inheritance | None = None
) -> dict[str, Any]:
    """The record of a swap: labels before and after, its settings, and the checkpoint that it started from.

    Args:
        settings: the RCAS section.
        plan: which class stands behind which label.
        source: the checkpoint's folder.
        inherited: what it has from there, where the swap starts; the lineage is then part of the record.
    """
    started = {} if inherited is None else {
        "lineage": [
            swap.model_dump(mode="json", exclude_unset=True)
            for swap in (*inherited.swaps, _new_swap(settings, plan, inherited))
        ],
        "base_sha256": inherited.base_sha256,
        **({} if inherited.discriminator_sha256 is None else {"discriminator_sha256": inherited.discriminator_sha256}),
    }  # fmt: skip
    return {
        **plain_record(plan.names),
        "labels_before": list(plan.names_before),
        "slots": {str(label): plan.names[label] for label in sorted(plan.slots)},
        "remaining": sorted(plan.remaining),
        "swap": settings.model_dump(mode="json"),
        "source": str(Path(source).resolve()),
        **started,
    }


def _new_swap(settings: CommonSettings, plan: LabelPlan, inherited: Inheritance) -> LineageSwap:
    """The swap that starts, with the labels that had no images before it, where that is known."""
    swap = LineageSwap.of_plan(settings.method, plan)
    if inherited.dropped is None:
        return swap
    unused = tuple(label for label, name in enumerate(swap.labels_before) if name in inherited.dropped)
    return swap.model_copy(update={"unused": unused})


def write_record(folder: str | Path, record: Mapping[str, Any]) -> None:
    """Write the record of a run; keys of an earlier record stay where this one has none, unless that is damaged."""
    try:
        earlier = read_record(folder).model_dump(mode="json", exclude_unset=True)
    except RcasError:  # a run that goes on for hours ends on no file of somebody else's
        earlier = {}
    write_json(Path(folder) / RECORD, {**earlier, **record})
