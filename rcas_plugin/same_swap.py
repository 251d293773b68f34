"""The comparison of a run's record with a section: which swap goes on, and with which values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcas_plugin.labels import label_of
from rcas_plugin.record import Record
from rcas_plugin.settings import CommonSettings, parse_settings, read_recorded
from rcas_plugin.settings.common import path_keys, watching_keys

#: Keys of the section that are compared by what they mean for this data set and these labels, not as they are written.
BY_MEANING = ("swap", "remaining", "labels", "preset")


def same_swap(record: Record, settings: CommonSettings) -> bool:
    """True where a section asks for the swap that a run recorded: the one rule for what goes on, and what starts anew.

    The recorded section is read as its method's of today (`read_recorded`), so that keys that are newer than it have their
    defaults. Classes and labels are compared by what they mean, and what only watches the swap is not compared.
    """
    recorded = read_recorded(record.swap) if record.swap is not None else None
    if recorded is None:
        return False  # no swap, of another version, or of a method that is not at hand
    not_compared = {**dict.fromkeys(BY_MEANING, True), **watching_keys(type(settings))}
    recorded_keys, section_keys = (_keys(which, not_compared) for which in (recorded, settings))
    return (
        recorded_keys == section_keys
        and (settings.labels is None or tuple(settings.labels) == record.labels_before)
        and len(settings.swap) == len(recorded.swap)
        and all(_same_slot(record, recorded, settings, ref) for ref in settings.swap)
        and _same_remaining(record, recorded, settings)
    )


def settings_of(record: Record, section: Mapping[str, Any]) -> CommonSettings:
    """The settings of a section beside a checkpoint of this record; raises like `parse_settings`.

    A run that recorded a preset whose name meant other values then goes on with those, though the section names it still.
    """
    settings = parse_settings(section)
    if record.swap is not None and record.swap.get("preset") == settings.preset:
        former = parse_settings(section, former=True)
        if same_swap(record, former):
            return former
    return settings


def _same_slot(record: Record, recorded: CommonSettings, settings: CommonSettings, ref: int | str) -> bool:
    label = label_of(ref, record.labels_before)
    if label not in record.slots:
        return False
    new = settings.swap[ref]
    # an index into the data set says nothing without it; the recorded section's keys are text, as all keys in JSON are
    return record.slots[label] == new if isinstance(new, str) else recorded.swap.get(str(ref)) == new


def _same_remaining(record: Record, recorded: CommonSettings, settings: CommonSettings) -> bool:
    if "all" in (recorded.remaining, settings.remaining):
        return recorded.remaining == settings.remaining
    return {label_of(ref, record.labels) for ref in settings.remaining} == set(record.remaining or ())


def _keys(settings: CommonSettings, not_compared: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that are compared as they are; those that name a file or folder by where they lead."""
    keys = settings.model_dump(exclude=dict(not_compared))
    named = {name: keys[name] for name in path_keys(type(settings)) if keys[name] is not None}
    return keys | {name: str(Path(path).resolve()) for name, path in named.items()}
