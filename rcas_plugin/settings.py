"""The `RCAS` section of a StudioGAN config: its fields, defaults, help and checks.

`parse_settings` is the only way in: it turns the section into one immutable object, or into one sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from rcas_plugin.errors import RcasError
from rcas_plugin.registry import objectives, phases

#: An `int` is an index (of a label, or of a class of the data set); a `str` is the name of a class folder.
ClassRef = int | str


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ImportanceSettings(Section):
    """How much each weight serves the old class (`rcas_plugin.importance.estimate`)."""

    samples: int = Field(2048, gt=0, description="generated images of the old class that the mean runs over, at the most")
    estimator: Literal["per_sample", "fisher", "batch", "output_norm"] = Field(
        "per_sample", description="mean absolute gradient, mean squared gradient, absolute mean gradient, or MAS's"
    )
    objective: str = Field(
        "adv_output", description="what is differentiated: adv_output (D's logit), class_logit, class_probability, feature_norm"
    )
    stable: float = Field(
        1.0, ge=0, le=1, description="stop sampling once the selection overlaps this much with the one of half the samples"
    )
    memory_mb: int = Field(512, gt=0, description="memory for per-sample gradients; sets the batch size")


class SelectionSettings(Section):
    """Which weights are re-initialised (`rcas_plugin.importance.selection`)."""

    generator_ratio: float = Field(0.0, ge=0, le=1, description="part of G's weights that is selected")
    discriminator_ratio: float = Field(0.0, ge=0, le=1, description="part of D's weights that is selected")
    scope: Literal["layer", "global", "threshold"] = Field(
        "layer", description="the ratio of each layer, of the network, or all over the threshold"
    )
    threshold: float = Field(10.0, ge=0, description="for scope threshold: the score over which a weight is selected")
    unit: Literal["element", "kernel", "filter"] = Field("element", description="what is selected as a whole")
    against: Literal["nothing", "ratio", "difference", "damping"] = Field(
        "nothing", description="score: importance f alone, or against that of the remaining labels: f / R, f - R, dampening's"
    )
    damping: float = Field(
        1.0, ge=0, description="for reinit damp: weights are multiplied by min((damping R / f) ** exponent, 1)"
    )
    exponent: float = Field(1.0, ge=0, description="for reinit damp: see damping")
    cap: float = Field(1.0, ge=0, le=1, description="the largest part of any one layer that is selected")
    conv: bool = Field(True, description="select in convolutions")
    conv_transpose: bool = Field(True, description="select in transposed convolutions")
    linear: bool = Field(True, description="select in linear layers")
    embedding: bool = Field(True, description="select in embeddings")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of weight that are switched on."""
        return frozenset(kind for kind in ("conv", "conv_transpose", "linear", "embedding") if getattr(self, kind))


class LabelStartSettings(Section):
    """What the parameters that the slot's label alone reaches start from (`rcas_plugin.methods.label_start`)."""

    how: Literal["keep", "mean", "match"] = Field(
        "keep", description="the old class's values, the mean of the remaining labels', or matched to the new class's images"
    )
    iterations: int | None = Field(
        None,
        gt=0,
        description="for match: updates of the slot's columns, each less than a training step; 60 if empty, "
        "in bn_propagation 150 for a class of under 100 images",
    )
    batch_size: int = Field(32, gt=1, description="for match: generated images an update")
    lr: float = Field(0.05, gt=0, description="for match: Adam's")
    images: int = Field(512, gt=0, description="for match: real images of the new class, at the most")


class LabelLrSettings(Section):
    """The step of the parameters that the slot's label alone reaches (`rcas_plugin.weights.label_bound`)."""

    generator: float = Field(1.0, ge=1, description="the slot's columns or embedding row in G step this many times as far")
    discriminator: float = Field(1.0, ge=1, description="the slot's embedding row in D likewise")
    steps: int = Field(400, gt=0, description="steps over which both go down to 1, along half a cosine")


class StagesSettings(Section):
    """For bn_propagation: its two stages; together they are the run (`rcas_plugin.methods.bn_propagation.method`)."""

    bn: int | None = Field(
        None,
        ge=0,
        description="steps that train scores, residuals and tables alone; a tenth if empty, all for a class of under 100 images",
    )
    ft: int | None = Field(None, ge=0, description="steps that then train all but scores and tables; the rest if empty")


class PropagationSettings(Section):
    """For bn_propagation: what keeps scores and residuals small (`rcas_plugin.methods.bn_propagation.method`)."""

    l1: float = Field(0.01, ge=0, description="weight of the mean absolute similarity score in G's loss")
    l2: float = Field(0.01, ge=0, description="weight of the mean squared residual in G's loss")


class RcasSettings(Section):
    """The whole `RCAS` section."""

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
    labels: list[str] | None = Field(
        None, description="class folder of each label at pre-training; needed only where no run recorded it"
    )
    new_data: str | None = Field(None, description="a folder with the new class's images, or with a sub-folder a new class")
    balance: bool = Field(
        True, description="show the new classes' images so often that each label is drawn as often as the others on average"
    )
    importance: ImportanceSettings = Field(default_factory=ImportanceSettings)
    selection: SelectionSettings = Field(default_factory=SelectionSettings)
    reinit: Literal["zero", "init", "damp"] = Field("zero", description="what is put in the place of the selected weights")
    label_start: LabelStartSettings = Field(default_factory=LabelStartSettings)
    bn_batches: int = Field(
        60, ge=0, description="batches from which G's batch-norm statistics are estimated anew after it; 0 keeps them"
    )
    label_lr: LabelLrSettings = Field(default_factory=LabelLrSettings)
    stages: StagesSettings = Field(default_factory=StagesSettings)
    propagation: PropagationSettings = Field(default_factory=PropagationSettings)
    retain: float = Field(0.0, ge=0, description="weight of the loss that keeps remaining labels: L1 to the pre-trained G")
    accelerate: bool = Field(False, description="channels-last weights, and bfloat16 where the processor has it")
    snapshot_images: int = Field(16, ge=0, description="images a label kept at each save step, of the same latents; 0 keeps none")
    swap_metrics: int = Field(
        250, ge=0, description="generated images a label that are judged at each save step (swap_metrics.json); 0: none"
    )
    tensorboard: bool = Field(False, description="write the swap metrics for TensorBoard too (pip install tensorboard)")


#: Named sets of values. A method's own name is its default; `RCAS.preset` asks for another.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # what did best in the trials of docs/results/README.md; it edits what the slot's label alone reaches, so that batch norm's
    # statistics stay good for the others
    "class_swap": {"label_start": {"how": "match"}, "retain": 10.0, "bn_batches": 0},
    "bn_propagation": {"label_start": {"how": "match"}, "retain": 10.0},
    # class-swap learning as published: the top 10 % of every layer of G and D, set to zero
    "rcas": {"selection": {"generator_ratio": 0.1, "discriminator_ratio": 0.1}},
}


def with_preset(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section with its preset's values where it gives none of its own.

    Raises:
        RcasError: there is no such preset.
    """
    name, method = section.get("preset"), section.get("method", "class_swap")
    if name is not None and name not in list(PRESETS):  # a list: what is asked for may be of any type
        raise RcasError(f"RCAS.preset: {name!r} is unknown; allowed: {', '.join(sorted(PRESETS))}")
    chosen = name or (method if isinstance(method, str) else "")
    merged: dict[str, Any] = {}
    for values in (PRESETS.get(chosen, {}), section):
        for key, value in values.items():
            both_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = {**merged[key], **value} if both_nested else value
    return merged


def parse_settings(section: Mapping[str, Any]) -> RcasSettings:
    """Check the `RCAS` section and return it as an immutable object.

    Raises:
        RcasError: one sentence that names the key and the allowed values.
    """
    try:
        settings = RcasSettings.model_validate(with_preset(section))
    except ValidationError as error:
        raise RcasError(_sentence(error)) from None
    if settings.classes is None and not settings.swap and not settings.add:
        field = RcasSettings.model_fields["swap"]
        what = f"{{}} is not allowed; allowed: {field.description}" if "swap" in section else "this key is missing; it holds: {}"
        raise RcasError(f"RCAS.swap: {what.format('{}' if 'swap' in section else field.description)}")
    if settings.classes is not None and (settings.swap or settings.add):
        raise RcasError("RCAS.classes: it names every label; leave out RCAS.swap and RCAS.add")
    if settings.classes is not None and len({*settings.classes}) < len(settings.classes):
        raise RcasError("RCAS.classes: a class is named twice; name each once")
    if settings.method not in phases:
        raise RcasError(f"RCAS.method: {settings.method!r} is unknown; allowed: {phases.names()}")
    if not phases[settings.method].changes_labels and (settings.add or settings.classes is not None):
        key = "add" if settings.add else "classes"
        able = ", ".join(sorted(name for name in phases if phases[name].changes_labels))
        raise RcasError(f"RCAS.{key}: not with method {settings.method}, which re-uses label slots; allowed with: {able}")
    if settings.importance.objective not in objectives:
        raise RcasError(f"RCAS.importance.objective: {settings.importance.objective!r} is unknown; allowed: {objectives.names()}")
    if settings.new_data is not None and not Path(settings.new_data).is_dir():
        raise RcasError(f"RCAS.new_data: there is no folder {settings.new_data}; give the folder of the new class's images")
    if settings.reinit == "damp" and settings.selection.against != "damping":
        raise RcasError("RCAS.reinit: damp needs the factors of RCAS.selection.against: damping; allowed without it: zero, init")
    if settings.remaining == []:
        raise RcasError("RCAS.remaining: the list is empty; allowed: all, or a list of at least one label")
    return settings


def reference() -> list[tuple[str, str, str]]:
    """(key, default, help) of every key of the section, in order: the config reference of the README.

    The default is the one of `method: class_swap`.
    """
    return list(_walk(RcasSettings, "RCAS", PRESETS["class_swap"]))


def _walk(model: type[BaseModel], prefix: str, preset: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}"
        if _is_section(field.annotation):
            rows += _walk(field.annotation, key, preset.get(name, {}))
        else:
            default = preset.get(name, field.get_default(call_default_factory=True))
            rows.append((key, str(default), field.description or ""))
    return rows


def _is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a field holds a section of keys; on Python 3.10 `dict[str, int]` is a `type` as well, and no class."""
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel)


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
    return 2 if path[0] in _sub_sections() and len(path) > 1 else 1


def _sub_sections() -> set[str]:
    return {name for name, field in RcasSettings.model_fields.items() if _is_section(field.annotation)}


def _field_at(path: list[str]) -> tuple[type[BaseModel], FieldInfo | None]:
    owner: type[BaseModel] = RcasSettings
    field = owner.model_fields.get(path[0])
    if field is not None and len(path) > 1 and path[0] in _sub_sections():
        assert _is_section(field.annotation)
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
    number = "a whole number" if int in (field.annotation, *get_args(field.annotation)) else "a number"  # `int | None` as well
    if "Gt" in bounds:
        return f"{number} over {bounds['Gt']}"
    if "Ge" in bounds:
        return f"{number} of at least {bounds['Ge']}"
    return _allowed_of_type(field)


def _allowed_of_type(field: FieldInfo) -> str:
    if _is_section(field.annotation):
        return f"a section of keys: {', '.join(field.annotation.model_fields)}"
    plain = {bool: "true or false", str: "a text"}
    if field.annotation in plain:
        return plain[field.annotation]
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return ", ".join(choices)
    return field.description or ""
