"""The JSON schema agrees with `parse_settings`, and says the defaults and help that an editor shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rcas_plugin import RcasError
from rcas_plugin.cli import main
from rcas_plugin.settings import file_schema, parse_settings, section_schema

from .test_parse import WRONG

ROOT = Path(__file__).parents[2]
METHODS = ("class_swap", "bn_propagation", "fine_tune")


def accepts(schema: dict[str, Any], content: Any) -> bool:
    return bool(jsonschema.Draft7Validator(schema).is_valid(content))


def parses(section: dict[str, Any]) -> bool:
    try:
        parse_settings(section)
    except RcasError:
        return False
    return True


@pytest.mark.parametrize("method", [None, *METHODS])
def test_it_is_a_schema_of_draft_7_without_references(method: str | None) -> None:
    schema = file_schema(method)
    jsonschema.Draft7Validator.check_schema(schema)
    assert "$ref" not in json.dumps(schema)
    assert "$defs" not in json.dumps(schema)


def test_what_is_shipped_is_accepted() -> None:
    contents = [yaml.safe_load(path.read_text()) for path in (ROOT / "configs").rglob("*.yaml")]
    contents += [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)]
    assert sum("RCAS" in content for content in contents) >= 8
    for content in contents:
        assert accepts(file_schema(), content), content
        if "RCAS" in content:
            method = content["RCAS"].get("method", "class_swap")
            assert [name for name in METHODS if accepts(file_schema(name), content)] == [method]


#: Not said in the schema: two keys that only go together, and a folder that must be there.
UNSAID = ("RCAS.reinit", "RCAS.new_data")


@pytest.mark.parametrize(("wrong", "key"), [(wrong, key) for wrong, key, _ in WRONG if key not in UNSAID])
def test_what_is_wrong_is_refused(wrong: dict[str, Any], key: str) -> None:
    assert accepts(section_schema(), {"swap": {9: 0}})
    assert not accepts(section_schema(), {"swap": {9: 0}, **wrong}), key


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"swap": {9: 0}, "stages": {"bn": 1}},
        {"swap": {9: 0}, "method": "fine_tune", "label_start": {"how": "keep"}},
        {"swap": {9: 0}, "method": "bn_propagation", "reinit": "zero"},
        {"swap": {9: 0}, "method": "bn_propagation", "preset": "rcas"},
        {"swap": {9: 0}, "method": "fine_tune", "preset": "class_swap"},
        {"swap": {9: 0}, "reinit": "random"},
        {"swap": {9: 0}, "method": ["class_swap"]},
        {"method": "fine_tune", "classes": ["a"]},
        {"method": "bn_propagation", "classes": ["a"], "swap": {9: 0}},
        {"method": "bn_propagation", "classes": ["a", "a"]},
        {"method": "bn_propagation", "add": []},
        {"method": "bn_propagation", "add": [], "swap": {}},
    ],
)
def test_keys_of_other_methods_are_refused(section: dict[str, Any]) -> None:
    assert not parses(section)
    assert not accepts(section_schema(), section)


#: For each key values of which some are allowed for some method.
VALUES: dict[str, list[Any]] = {
    "method": [*METHODS, "zap"],
    "preset": [None, "class_swap", "rcas", "bn_propagation", 3],
    "swap": [{9: 0}, {"a": "b", 3: "c"}, {}, [9]],
    "add": [["x"], [4], "x"],
    "classes": [["a", "b"], ["a", "a"], []],
    "remaining": ["all", [0, "a"], []],
    "retain": [0, 1.5, -1, "much"],
    "label_lr": [{}, {"generator": 2}, {"generator": 0.5}, {"steps": 1.5}],
    "importance": [{"samples": 3, "stable": 0.5}, {"objective": "class_logit"}, {"objective": "loss"}],
    "selection": [{"scope": "global"}, {"scope": "block"}, {"conv": False}, {"conv": 1}],
    "label_start": [{"how": "mean", "iterations": None}, {"iterations": 4}, {"iterations": 0}],
    "stages": [{"bn": 1, "ft": None}, {"bn": -1}, {"on": 3}, None],
    "bn_batches": [0, True],
    "accelerate": [True, "yes"],
    "spelt_wrong": [1],
}


def with_values(keys: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Sections of these keys, and a swap."""
    return st.fixed_dictionaries({"swap": st.just({9: 0}), **{key: st.sampled_from(VALUES[key]) for key in keys}})


@given(st.lists(st.sampled_from([*VALUES]), max_size=3, unique=True).flatmap(with_values))
@settings(max_examples=300)
def test_it_accepts_what_is_parsed_and_nothing_else(section: dict[str, Any]) -> None:
    assert accepts(SCHEMA, section) == parses(section)


SCHEMA = section_schema()


@pytest.mark.parametrize("key", [*VALUES])
def test_each_value_alone(key: str) -> None:
    for method in METHODS:
        for value in VALUES[key]:
            for swap in ({}, {"swap": {9: 0}}):
                section = {"method": method, **swap, key: value}
                assert accepts(SCHEMA, section) == parses(section), section


def test_an_editor_shows_defaults_and_help() -> None:
    keys = section_schema("class_swap")["properties"]
    assert (keys["retain"]["default"], keys["label_start"]["properties"]["how"]["default"]) == (10.0, "match")
    assert keys["label_start"]["properties"]["how"]["enum"] == ["keep", "mean", "match"]
    assert keys["importance"]["properties"]["objective"]["enum"] == [
        "adv_output", "class_logit", "class_probability", "feature_norm",
    ]  # fmt: skip
    assert keys["preset"]["enum"] == [None, "class_swap", "rcas", "rcas_10"]
    for name in METHODS:
        for key, what in section_schema(name)["properties"].items():
            assert what["description"], key
    assert section_schema("fine_tune")["properties"]["retain"]["default"] == 0.0


@pytest.mark.usefixtures("paint")
def test_a_third_partys_method_is_in_it() -> None:
    section = {"method": "paint", "swap": {"b": "d"}, "brush": {"width": 2}, "preset": "sketch"}
    assert accepts(section_schema(), section)
    assert not accepts(section_schema(), {**section, "brush": {"width": 0}})
    assert not accepts(section_schema(), {**section, "method": "class_swap"})


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    printed = {}
    for options in ([], ["section"], ["file", "--method", "fine_tune"]):
        assert main(["config", "--schema", *options]) == 0
        printed[" ".join(options)] = json.loads(capsys.readouterr().out)
    assert printed == {"": file_schema(), "section": section_schema(), "file --method fine_tune": file_schema("fine_tune")}
    assert accepts(printed[""], {"DATA": {"name": "toy"}, "RCAS": {"swap": {9: 0}}})
    assert not accepts(printed[""], {"DATA": {"name": "toy"}, "RCAS": {"swpa": {9: 0}}})
