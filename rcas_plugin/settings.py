"""The `RCAS` section of a StudioGAN config: its fields, defaults, help and checks.

`parse_settings` is the only way in: it turns the section into one immutable object, or into one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from rcas_plugin.errors import RcasError
from rcas_plugin.registry import objectives, phases

#: An `int` is an index (of a label, or of a class of the data set); a `str` is the name of a class folder.
ClassRef = int | str


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ImportanceSettings(Section):
    """How much each weight serves the old class (`rcas_plugin.importance`)."""

    samples: int = Field(2048, gt=0, description="generated images of the old class that the mean runs over")
    objective: str = Field("adv_output", description="what is differentiated: D's real/fake logit")
    memory_mb: int = Field(512, gt=0, description="memory for per-sample gradients; sets the batch size")


class SelectionSettings(Section):
    """Which weights are re-initialised (`rcas_plugin.selection`)."""

    generator_ratio: float = Field(0.1, ge=0, le=1, description="part of G's weights that is selected")
    discriminator_ratio: float = Field(0.1, ge=0, le=1, description="part of D's weights that is selected")
    scope: Literal["layer", "global"] = Field("layer", description="the ratio of each layer, or of the network")
    conv: bool = Field(True, description="select in convolutions")
    conv_transpose: bool = Field(True, description="select in transposed convolutions")
    linear: bool = Field(True, description="select in linear layers")
    embedding: bool = Field(True, description="select in embeddings")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of weight that are switched on."""
        return frozenset(kind for kind in ("conv", "conv_transpose", "linear", "embedding") if getattr(self, kind))


class RcasSettings(Section):
    """The whole `RCAS` section."""

    method: str = Field("class_swap", description="what to do with the pre-trained GAN")
    swap: dict[ClassRef, ClassRef] = Field(
        min_length=1, description="label slot -> the new class, each by index or by folder name in quotes"
    )
    remaining: Literal["all"] | list[ClassRef] = Field("all", description="the labels that stay alive")
    labels: list[str] | None = Field(
        None, description="class folder of each label at pre-training; needed only where no run recorded it"
    )
    new_data: str | None = Field(None, description="a folder with the new class's images, or with a sub-folder a new class")
    importance: ImportanceSettings = Field(default_factory=ImportanceSettings)
    selection: SelectionSettings = Field(default_factory=SelectionSettings)
    reinit: Literal["zero"] = Field("zero", description="what is put in the place of the selected weights")
    retain: float = Field(0.0, ge=0, description="weight of the `class_swap` loss: L1 to the pre-trained G on remaining labels")
    snapshot_images: int = Field(16, ge=0, description="images a label kept at each save step, of the same latents; 0 keeps none")


def parse_settings(section: Mapping[str, Any]) -> RcasSettings:
    """Check the `RCAS` section and return it as an immutable object.

    Raises:
        RcasError: one sentence that names the key and the allowed values.
    """
    try:
        settings = RcasSettings.model_validate(section)
    except ValidationError as error:
        raise RcasError(_sentence(error)) from None
    if settings.method not in phases:
        raise RcasError(f"RCAS.method: {settings.method!r} is unknown; allowed: {', '.join(sorted(phases))}")
    if settings.importance.objective not in objectives:
        allowed = ", ".join(sorted(objectives))
        raise RcasError(f"RCAS.importance.objective: {settings.importance.objective!r} is unknown; allowed: {allowed}")
    if settings.new_data is not None and not Path(settings.new_data).is_dir():
        raise RcasError(f"RCAS.new_data: there is no folder {settings.new_data}; give the folder of the new class's images")
    if settings.remaining == []:
        raise RcasError("RCAS.remaining: the list is empty; allowed: all, or a list of at least one label")
    return settings


def reference() -> list[tuple[str, str, str]]:
    """(key, default, help) of every key of the section, in order: the config reference of the README."""
    return list(_walk(RcasSettings, "RCAS"))


def _walk(model: type[BaseModel], prefix: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += _walk(field.annotation, key)
        else:
            default = "required" if field.is_required() else str(field.default)
            rows.append((key, default, field.description or ""))
    return rows


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    owner, field = _field_at(path)
    key = ".".join(["RCAS", *path[: len(path) if field is None else _depth(path)]])
    if first["type"] == "extra_forbidden":
        return f"{key}: this key is unknown; allowed: {', '.join(owner.model_fields)}"
    if first["type"] == "missing":
        return f"{key}: this key is missing; it holds: {field.description if field else ''}"
    allowed = _allowed(field) if field else ""
    return f"{key}: {first['input']!r} is not allowed; allowed: {allowed or first['msg']}"


def _depth(path: list[str]) -> int:
    """How many leading parts of the location are keys of the section (pydantic appends the tried type)."""
    return 2 if path[0] in {"importance", "selection"} and len(path) > 1 else 1


def _field_at(path: list[str]) -> tuple[type[BaseModel], FieldInfo | None]:
    owner: type[BaseModel] = RcasSettings
    field = owner.model_fields.get(path[0])
    if field is not None and len(path) > 1 and path[0] in {"importance", "selection"}:
        assert isinstance(field.annotation, type)
        owner = field.annotation
        field = owner.model_fields.get(path[1])
    return owner, field


def _allowed(field: FieldInfo) -> str:
    bounds = {
        type(limit).__name__: getattr(limit, type(limit).__name__.lower())
        for limit in field.metadata
        if type(limit).__name__ in {"Gt", "Ge", "Le"}
    }
    if "Ge" in bounds and "Le" in bounds:
        return f"{bounds['Ge']} to {bounds['Le']}"
    if "Gt" in bounds:
        return f"a whole number over {bounds['Gt']}"
    if "Ge" in bounds:
        return f"a number of at least {bounds['Ge']}"
    plain = {bool: "true or false", str: "a text"}
    if field.annotation in plain:
        return plain[field.annotation]
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return ", ".join(choices)
    return field.description or ""
