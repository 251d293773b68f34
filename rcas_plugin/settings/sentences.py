"""One sentence of a section's first mistake: the key, its value, and the allowed ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from rcas_plugin.registry import methods
from rcas_plugin.settings.common import is_section


def sentence(error: ValidationError, method: str) -> str:
    """The sentence of the first mistake in a section of a method.

    A key that other methods have is refused with their names; one that no method has, with the keys that there are.
    """
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        owners = sorted(name for name in methods if _field_at(methods[name].Settings, path)[1] is not None)
        if owners:
            section, _, _ = _field_at(methods[method].Settings, path)
            plural = "s" if len(owners) > 1 else ""
            return (
                f"{'.'.join(['RCAS', *path])}: this key belongs to method{plural} {' and '.join(owners)}; "
                f"allowed with {method}: {', '.join(section.model_fields)}"
            )
    return sentence_of(error, methods[method].Settings, "RCAS")


def sentence_of(error: ValidationError, model: type[BaseModel], *root: str) -> str:
    """The sentence of the first mistake in the keys of a model; `root` names the sections that these lie in."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    section, field, depth = _field_at(model, path)
    key = ".".join([*root, *path[: len(path) if field is None else depth]])
    if first["type"] == "extra_forbidden":
        return f"{key}: this key is unknown; allowed: {', '.join(section.model_fields)}"
    if first["type"] == "missing":
        return f"{key}: this key is missing; it holds: {field.description if field else ''}"
    values = _allowed(field) if field else ""
    return f"{key}: {first['input']!r} is not allowed; allowed: {values or first['msg']}"


def _field_at(model: type[BaseModel], path: Sequence[str]) -> tuple[type[BaseModel], FieldInfo | None, int]:
    """The section that a location lies in, its field (None where there is none), and the number of keys that lead there.

    The location may go on behind the key: pydantic appends the type that it tried.
    """
    field = model.model_fields.get(path[0])
    if field is None or len(path) == 1 or not is_section(field.annotation):
        return model, field, 1
    section, inner, depth = _field_at(field.annotation, path[1:])
    return section, inner, 1 + depth


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
    if is_section(field.annotation):
        return f"a section of keys: {', '.join(field.annotation.model_fields)}"
    plain = {bool: "true or false", str: "a text"}
    if field.annotation in plain:
        return plain[field.annotation]
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return ", ".join(choices)
    return field.description or ""
