"""A JSON schema of the `RCAS` section, from the methods' classes: an editor completes and checks the YAML by it.

Draft 7, which editors know best, without references: what is said beside a reference would be lost in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcas_plugin.registry import methods
from rcas_plugin.settings.common import DEFAULT_METHOD
from rcas_plugin.settings.reference import default_values, in_order

DRAFT = "http://json-schema.org/draft-07/schema#"
Schema = dict[str, Any]
#: The ways to name new classes where a method changes the number of labels.
NEW_CLASSES: list[Schema] = [
    {"required": ["swap"], "properties": {"swap": {"minProperties": 1}, "classes": {"type": "null"}}},
    {"required": ["add"], "properties": {"add": {"minItems": 1}, "classes": {"type": "null"}}},
    {
        "required": ["classes"],
        "properties": {"classes": {"type": "array", "uniqueItems": True}, "swap": {"maxProperties": 0}, "add": {"maxItems": 0}},
    },
]


def file_schema(method: str | None = None) -> Schema:
    """The schema of a StudioGAN config file: `RCAS` by `section_schema`, and any sections of StudioGAN's.

    Raises:
        RcasError: there is no such method.
    """
    return {
        "$schema": DRAFT,
        "title": "A StudioGAN config with a section of the RCAS plugin",
        "type": "object",
        "properties": {"RCAS": section_schema(method)},
    }


def section_schema(method: str | None = None) -> Schema:
    """The schema of the `RCAS` section.

    Args:
        method: the one that the section is for; by default any, and then the keys depend on `method`.

    Raises:
        RcasError: there is no such method.
    """
    if method is not None:
        return _of_method(method)
    names = in_order()
    description = _of_method(DEFAULT_METHOD)["properties"]["method"]["description"]
    return {
        "type": "object",
        "properties": {"method": {"enum": names, "default": DEFAULT_METHOD, "description": description}},
        "allOf": [{"if": _names(name), "then": _of_method(name)} for name in names],
    }


def _names(method: str) -> Schema:
    """The schema that sections of a method fulfil; one that names no method is the default's."""
    required: Schema = {} if method == DEFAULT_METHOD else {"required": ["method"]}
    return {"properties": {"method": {"const": method}}, **required}


def _of_method(name: str) -> Schema:
    method = methods[name]
    full = method.Settings.model_json_schema()
    schema: Schema = _without_references(full, full.get("$defs", {}))
    properties = schema["properties"]
    properties["method"] |= {"const": name, "default": name}
    properties["preset"] = {
        "enum": [None, *method.presets], "default": name if name in method.presets else None,
        "description": properties["preset"]["description"],
    }  # fmt: skip
    schema["description"] = " ".join((method.__doc__ or "").partition("\n\n")[0].split())
    _set_defaults(properties, default_values(name))
    if name != DEFAULT_METHOD:
        schema["required"] = [*schema.get("required", ()), "method"]
    if method.changes_labels:
        schema["anyOf"] = NEW_CLASSES
    else:
        del properties["add"], properties["classes"]
        schema["required"] = [*schema.get("required", ()), "swap"]
        properties["swap"]["minProperties"] = 1
    properties["remaining"]["anyOf"] = [
        {**choice, "minItems": 1} if choice.get("type") == "array" else choice for choice in properties["remaining"]["anyOf"]
    ]
    return schema


def _without_references(node: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with each reference replaced by what it names, and without pydantic's titles."""
    if isinstance(node, list):
        return [_without_references(item, definitions) for item in node]
    if not isinstance(node, Mapping):
        return node
    inner = node.get("allOf", [{}])  # before pydantic 2.9 a reference with something beside it is a list of one
    reference = node.get("$ref") or (inner[0].get("$ref") if len(inner) == 1 else None)
    if reference is None:
        return {
            key: {name: _without_references(child, definitions) for name, child in value.items()}
            if key == "properties" else _without_references(value, definitions)
            for key, value in node.items() if key not in ("$defs", "title")
        }  # fmt: skip
    beside = {key: value for key, value in node.items() if key not in ("$ref", "allOf")}
    return _without_references({**definitions[reference.rpartition("/")[2]], **beside}, definitions)


def _set_defaults(properties: Schema, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if "properties" in properties[key]:
            _set_defaults(properties[key]["properties"], value)
        elif key != "method":
            properties[key]["default"] = value
