"""The keys of the `RCAS` section as rows: `rcas config`, and the page of the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from rcas_plugin.registry import methods
from rcas_plugin.settings.common import DEFAULT_METHOD, CommonSettings, is_section


class Row(NamedTuple):
    """A key of the section, with its default and its description, as text."""

    key: str
    default: str
    help: str


def reference() -> list[Row]:
    """Every key of the section: the common ones, then each method's own.

    The default is that of `method: class_swap` where it has the key.
    """
    rows = {row.key: row for row in common_rows()}
    for name in in_order():
        for row in reference_of(name):
            rows.setdefault(row.key, row)
    return list(rows.values())


def common_rows() -> list[Row]:
    """The keys that every method has, with the defaults of `method: class_swap`."""
    return list(_walk(CommonSettings, "RCAS", default_values(DEFAULT_METHOD)))


def reference_of(method: str) -> list[Row]:
    """Every key of a method, with the values of the preset of its own name.

    Raises:
        RcasError: there is no such method.
    """
    return list(_walk(methods[method].Settings, "RCAS", default_values(method)))


def own_rows(method: str) -> list[Row]:
    """The keys of a method that are no common ones, and the common ones whose default is another with it."""
    common = common_rows()
    return [row for row in reference_of(method) if row not in common and row.key != "RCAS.method"]


def rows_of(model: type[BaseModel]) -> list[Row]:
    """The keys of a file of its own, which lie in no section."""
    return [row._replace(key=row.key.removeprefix(".")) for row in _walk(model, "", {})]


def presets_of(method: str) -> dict[str, list[tuple[str, str]]]:
    """Preset -> the keys that it sets, with their values as text."""
    return {
        name: [(f"RCAS.{key}", str(value)) for key, value in _flat(values)] for name, values in methods[method].presets.items()
    }


def default_values(method: str) -> dict[str, Any]:
    """The values of the preset of the method's own name, with `method` itself."""
    return {**methods[method].presets.get(method, {}), "method": method}


def in_order() -> list[str]:
    """The methods' names: the default one first."""
    return sorted(methods, key=lambda name: (name != DEFAULT_METHOD, name))


def _walk(model: type[BaseModel], prefix: str, values: Mapping[str, Any]) -> Iterator[Row]:
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}"
        if is_section(field.annotation):
            yield from _walk(field.annotation, key, values.get(name, {}))
        else:
            default = values.get(name, None if field.is_required() else field.get_default(call_default_factory=True))
            yield Row(key, "needed" if field.is_required() else str(default), field.description or "")


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", what) for inner, what in _flat(value))
        else:
            yield key, value
