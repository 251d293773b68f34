"""`parse_settings`, the only way into the `RCAS` section: the method's own settings object, or one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rcas_plugin.errors import RcasError
from rcas_plugin.registry import methods
from rcas_plugin.settings.common import DEFAULT_METHOD, CommonSettings
from rcas_plugin.settings.sentences import sentence


def parse_settings(section: Mapping[str, Any], *, former: bool = False) -> CommonSettings:
    """Check the `RCAS` section and return it as an immutable object of its method's `Settings`.

    Args:
        section: as the YAML has it. Keys that are not given have the values of the preset, else their defaults.
        former: take the values that the preset's name meant in an earlier version, where they were others.

    Raises:
        RcasError: one sentence that names the key and the allowed values.
    """
    name = section.get("method", DEFAULT_METHOD)
    if not isinstance(name, str) or name not in methods:
        raise RcasError(f"RCAS.method: {name!r} is unknown; allowed: {methods.names()}")
    method = methods[name]
    _check_preset(section.get("preset"), name)
    settings: CommonSettings
    try:
        settings = method.Settings.model_validate(with_preset(section, name, former=former))
    except ValidationError as error:
        raise RcasError(sentence(error, name)) from None
    settings.check()
    if not method.changes_labels and (settings.add or settings.classes is not None):
        key = "add" if settings.add else "classes"
        able = ", ".join(sorted(method_name for method_name in methods if methods[method_name].changes_labels))
        raise RcasError(f"RCAS.{key}: not with method {name}, which re-uses label slots; allowed with: {able}")
    return settings


def _check_preset(preset: Any, method: str) -> None:
    if preset is None or preset in list(methods[method].presets):  # a list: what is asked for may be of any type
        return
    allowed = ", ".join(sorted(methods[method].presets)) or "none, leave it out"
    owners = sorted(name for name in methods if preset in list(methods[name].presets))
    if owners:
        plural = "s" if len(owners) > 1 else ""
        raise RcasError(
            f"RCAS.preset: {preset!r} belongs to method{plural} {' and '.join(owners)}; allowed with {method}: {allowed}"
        )
    raise RcasError(f"RCAS.preset: {preset!r} is unknown; allowed with {method}: {allowed}")


def with_preset(section: Mapping[str, Any], method: str, *, former: bool = False) -> dict[str, Any]:
    """The section with its preset's values where it gives none of its own.

    The preset is the one that `preset` names, or the one of the method's own name where it has one.
    """
    presets = {**methods[method].presets, **(methods[method].former_presets if former else {})}
    merged: dict[str, Any] = {}
    for values in (presets.get(section.get("preset") or method, {}), section):
        for key, value in values.items():
            both_nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = {**merged[key], **value} if both_nested else value
    return merged


def read_recorded(section: Mapping[str, Any]) -> CommonSettings | None:
    """A section that a run recorded, as the settings that its method has today; None where that method or a key is unknown.

    Keys that are newer than the record have their defaults, or what the preset then said of them. Keys of other methods are left
    out: records up to version 0.1.0 hold every key of every method, and those did nothing.
    """
    name = section.get("method", DEFAULT_METHOD)
    if not isinstance(name, str) or name not in methods:
        return None
    fields = methods[name].Settings.model_fields
    kept = {key: value for key, value in section.items() if key in fields or not _known(key)}
    if kept.get("preset") not in [None, *methods[name].presets]:
        del kept["preset"]
    recorded: CommonSettings
    try:
        recorded = methods[name].Settings.model_validate(with_preset(kept, name, former=True))
    except ValidationError:
        return None
    return recorded


def _known(key: str) -> bool:
    return any(key in method.Settings.model_fields for method in methods.values())
