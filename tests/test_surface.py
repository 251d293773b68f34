"""What others hold on to is as it was at bc14607: names, arguments, keys, defaults, commands, files (fixtures/surface.json)."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import rcas_plugin
from rcas_plugin.third_parties import GROUP

from .fixtures import surface

PROMISED = json.loads((Path(__file__).parent / "fixtures" / "surface.json").read_text(encoding="utf-8"))
CHANGED: dict[str, Any] = PROMISED.pop("changed")
GROUPS = [group for group in PROMISED if group != "files"]


@pytest.fixture(scope="module")
def today() -> surface.Surface:
    points = importlib.metadata.distribution("rcas-plugin").entry_points
    groups = {point.group: {other.name: other.value for other in points if other.group == point.group} for point in points}
    return surface.surface(Path(__file__).parents[1], groups)


@pytest.mark.parametrize("group", GROUPS)
def test_is_as_promised(group: str, today: surface.Surface) -> None:
    assert PROMISED[group], "something is promised"
    assert broken(group, PROMISED[group], today[group]) == []
    for key, change in CHANGED.items():
        if key.startswith(f"{group}: ") and group != "files":
            assert today[group][key.partition(": ")[2]] == change["is"], f"{key} is as the list says it became"


@pytest.mark.slow
def test_files_and_their_keys_are_as_promised(tmp_path: Path) -> None:
    found = surface.files(tmp_path)
    assert broken("files", PROMISED["files"], found) == []
    for key, change in CHANGED.items():
        group, _, name = key.partition(": ")
        if group != "files":
            continue
        assert set(change["there"]) <= set(found[name]), f"{name} is as the list says it became"
        assert not set(change["gone"]) & set(found[name]), f"{name} is as it was; take it out of the list of changes"


def test_packages_of_methods_offer_the_same_group() -> None:
    assert GROUP == "rcas_plugin.methods"


def test_every_public_name_is_there() -> None:
    names = {name for name in PROMISED["names"] if "." not in name}
    assert names <= set(rcas_plugin.__all__)


def broken(group: str, promised: Mapping[str, Any], today: Mapping[str, Any]) -> list[str]:
    """What is not as promised, a line each; what is new beside it is none of that."""
    lines = []
    for key, value in promised.items():
        if key not in today:
            lines.append(f"{group}: {key} is gone")
        elif f"{group}: {key}" in CHANGED and group != "files":
            continue  # another value on purpose
        elif not kept(group, value if group != "files" else still(key, value), today[key]):
            lines.append(f"{group}: {key} was {value}, is {today[key]}")
    return lines


def still(name: str, keys: list[str]) -> list[str]:
    """The keys of a file that were not given up on purpose."""
    gone = CHANGED.get(f"files: {name}", {"gone": []})["gone"]
    return [key for key in keys if key not in gone]


def kept(group: str, promised: Any, today: Any) -> bool:
    """Whether what is there today serves who holds on to what was promised."""
    if group == "names" and isinstance(promised, list):
        return calls_still_fit(promised, today)
    if group == "commands" and promised:
        words, words_today = promised["choices"], today["choices"]
        chosen = words_today is None or (words is not None and set(words) <= set(words_today))
        return chosen and {**promised, "choices": None} == {**today, "choices": None}
    if group == "files":
        return set(promised) <= set(today)
    return type(promised) is type(today) and promised == today


def calls_still_fit(promised: list[list[str]], today: list[list[str]]) -> bool:
    """Whether a call with the parameters [name, kind, default] works as before: the same ones first, new ones with a default."""
    places, places_today = ([entry for entry in entries if entry[1] != "KEYWORD_ONLY"] for entries in (promised, today))
    new = [entry for entry in today if entry not in promised]
    return (
        places == places_today[: len(places)]
        and all(entry in today for entry in promised)
        and all(entry[2] or entry[1].startswith("VAR_") for entry in new)
    )


def test_what_is_broken_is_seen() -> None:
    one, two, word = ["a", "POSITIONAL_OR_KEYWORD", ""], ["b", "POSITIONAL_OR_KEYWORD", "1"], ["c", "KEYWORD_ONLY", "None"]
    assert broken("tables", {"phases/x": True}, {}) == ["tables: phases/x is gone"]
    assert broken("section", {"m/k": 1.0}, {"m/k": 2.0}) == ["section: m/k was 1.0, is 2.0"]
    assert not kept("section", 1, True)
    assert kept("names", [one], [one, two, word])
    assert not kept("names", [one, two], [two, one]), "another order"
    assert not kept("names", [two], [["b", "POSITIONAL_OR_KEYWORD", "2"]]), "another default"
    assert not kept("names", [two], [two, ["d", "POSITIONAL_OR_KEYWORD", ""]]), "a new one without a default"
    assert not kept("names", [two, word], [two]), "one is gone"
    option = {"required": False, "nargs": None, "default": "x", "choices": ["x", "y"]}
    assert kept("commands", option, {**option, "choices": ["x", "y", "z"]})
    assert kept("commands", option, {**option, "choices": None}), "any word is taken"
    assert not kept("commands", option, {**option, "choices": ["x"]})
    assert not kept("commands", {**option, "choices": None}, option), "any word was taken"
    assert not kept("commands", option, {**option, "required": True})
    assert not kept("files", ["labels"], ["slots"])
