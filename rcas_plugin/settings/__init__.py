"""The `RCAS` section of a StudioGAN config: the keys that every method has, parsing, sentences, reference and JSON schema.

A method's own keys are a subclass of `CommonSettings` beside it (`Method.Settings`); they lie flat in the section.
"""

from rcas_plugin.settings.common import ClassRef, CommonSettings, PathKey, Section, Watching
from rcas_plugin.settings.parse import parse_settings, read_recorded
from rcas_plugin.settings.reference import Row, common_rows, own_rows, presets_of, reference, reference_of
from rcas_plugin.settings.schema import file_schema, section_schema

__all__ = [
    "ClassRef",
    "CommonSettings",
    "PathKey",
    "Row",
    "Section",
    "Watching",
    "common_rows",
    "file_schema",
    "own_rows",
    "parse_settings",
    "presets_of",
    "read_recorded",
    "reference",
    "reference_of",
    "section_schema",
]
