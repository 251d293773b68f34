"""The README says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from rcas_plugin.settings import parse_settings, reference

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_config_reference_is_the_settings() -> None:
    rows = [f"| `{key}` | {default} | {text} |" for key, default, text in reference()]
    assert "\n".join(rows) in README, "paste:\n" + "\n".join(rows)


def test_the_examples_are_valid_sections() -> None:
    examples = [yaml.safe_load(block)["RCAS"] for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
    assert examples
    for section in examples:
        parse_settings(section)


def test_the_configs_that_are_shipped_are_valid() -> None:
    found = 0
    for path in (ROOT / "configs").rglob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        if "RCAS" in content:
            parse_settings(content["RCAS"])
            found += 1
    assert found >= 4


def test_pictures_and_links_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README):
        assert (ROOT / target).exists(), target
