"""The keys of the `RCAS` section that every method has; a method's own `Settings` is a subclass with keys of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field

from rcas_plugin.errors import RcasError

#: An `int` is an index (of a label, or of a class of the data set); a `str` is the name of a class folder.
ClassRef = int | str

T = TypeVar("T")


class _Watches:
    """The mark of a key that changes how a swap is watched or computed, and not its result."""


#: `key: Watching[int] = Field(…)`: a run goes on although the key has another value than it was started with.
Watching = Annotated[T, _Watches()]


class _Names:
    """The mark of a key that names a file or folder: two values are the same where they lead to the same place."""


#: `key: PathKey = Field(…)`.
PathKey = Annotated[str | None, _Names()]


class Section(BaseModel):
    """A part of the section: immutable, each key of its own type, unknown keys refused. Each key has a `description`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LabelLrSettings(Section):
    """The step of the parameters that the slot's label alone reaches (`rcas_plugin.weights.label_bound`)."""

    generator: float = Field(1.0, ge=1, description="the slot's columns or embedding row in G step this many times as far")
    discriminator: float = Field(1.0, ge=1, description="the slot's embedding row in D likewise")
    steps: int = Field(400, gt=0, description="steps over which both go down to 1, along half a cosine")


class StopSettings(Section):
    """When a swap ends by itself, before its last step (`rcas_plugin.metrics.best` says which state is the best)."""

    patience: Watching[int] = Field(
        0, ge=0, description="save steps without a new best state after which the run ends by itself; 0: it never does"
    )


class CommonSettings(Section):
    """The keys of the `RCAS` section that every method has."""

    method: str = Field("class_swap", description="what to do with the pre-trained GAN")
    preset: str | None = Field(None, description="a named set of values for keys that are not given; the method's own by default")
    swap: dict[ClassRef, ClassRef] = Field(
        default_factory=dict, description="label slot -> the new class, each by index or by folder name in quotes"
    )
    add: list[ClassRef] = Field(default_factory=list, description="for bn_propagation: new classes under labels of their own")
    classes: list[str] | None = Field(
        None, description="for bn_propagation: class folder of each label from now on, in place of swap and add"
    )
    remaining: Literal["all"] | list[ClassRef] = Field("all", description="the labels that stay alive")
    remaining_data: Literal["real", "replay", "none"] = Field(
        "real",
        description="what training shows of the remaining labels: their images in the data set; images that the pre-trained "
        "generator draws anew for each batch; or nothing. But for real, a remaining label needs no images",
    )
    labels: list[str] | None = Field(
        None, description="class folder of each label at pre-training; needed only where no run recorded it"
    )
    new_data: PathKey = Field(None, description="a folder with the new class's images, or with a sub-folder a new class")
    balance: bool = Field(
        True, description="show the new classes' images so often that each label is drawn as often as the others on average"
    )
    share: float = Field(
        0.0, ge=0, lt=1, description="where balance is on, least part of each batch, real and generated, that the new classes "
        "have together; 0: each label as often as any other"
    )  # fmt: skip
    label_lr: LabelLrSettings = Field(default_factory=LabelLrSettings)
    retain: float = Field(0.0, ge=0, description="weight of the loss that keeps remaining labels: L1 to the pre-trained G")
    accelerate: Watching[bool] = Field(False, description="channels-last weights, and bfloat16 where the processor has it")
    snapshot_images: Watching[int] = Field(
        16, ge=0, description="images a label kept at each save step, of the same latents; 0 keeps none"
    )
    swap_metrics: Watching[int] = Field(
        250, ge=0, description="generated images a label that are judged at each save step (swap_metrics.json); 0: none"
    )
    second_judge: Watching[bool] = Field(
        False, description="judge by a second classifier too, of another architecture and seed (swap_metrics.json, the report)"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="decay of an average of G's weights that is judged and kept as the best state, where "
        "MODEL.apply_g_ema is off; 0: none"
    )  # fmt: skip
    stop: StopSettings = Field(default_factory=StopSettings)
    tensorboard: Watching[bool] = Field(False, description="write the swap metrics for TensorBoard too (pip install tensorboard)")

    @property
    def drawn_share(self) -> float:
        """`share`, or 0 where `balance` is off and each image is shown once."""
        return self.share if self.balance else 0.0

    def check(self) -> None:
        """Raise `RcasError` where keys do not go together; a method's own settings call this first, and add theirs."""
        if self.classes is None and not self.swap and not self.add:
            what = "{} is not allowed; allowed" if "swap" in self.model_fields_set else "this key is missing; it holds"
            raise RcasError(f"RCAS.swap: {what}: {type(self).model_fields['swap'].description}")
        if self.classes is not None and (self.swap or self.add):
            raise RcasError("RCAS.classes: it names every label; leave out RCAS.swap and RCAS.add")
        if self.classes is not None and len({*self.classes}) < len(self.classes):
            raise RcasError("RCAS.classes: a class is named twice; name each once")
        if self.new_data is not None and not Path(self.new_data).is_dir():
            raise RcasError(f"RCAS.new_data: there is no folder {self.new_data}; give the folder of the new class's images")
        if self.stop.patience and not self.swap_metrics:
            raise RcasError("RCAS.stop.patience: nothing is judged with swap_metrics 0; give it a number, or leave patience out")
        if self.remaining == []:
            raise RcasError("RCAS.remaining: the list is empty; allowed: all, or a list of at least one label")


#: The method of a section that names none.
DEFAULT_METHOD: str = CommonSettings.model_fields["method"].default


def is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """True where a field holds a section of keys; on Python 3.10 `dict[str, int]` is a `type` as well, and no class."""
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel)


def watching_keys(model: type[BaseModel]) -> dict[str, Any]:
    """The keys marked `Watching`, as pydantic's `exclude` takes them: key -> True, or a section's keys likewise."""
    keys: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if any(isinstance(mark, _Watches) for mark in field.metadata):
            keys[name] = True
        elif is_section(field.annotation) and (inside := watching_keys(field.annotation)):
            keys[name] = inside
    return keys


def path_keys(model: type[BaseModel]) -> list[str]:
    """The keys of the section itself that name a file or folder (`PathKey`)."""
    return [name for name, field in model.model_fields.items() if any(isinstance(mark, _Names) for mark in field.metadata)]
