"""The configs that are shipped."""

from __future__ import annotations

from pathlib import Path

import yaml

from rcas_plugin.settings import parse_settings

CONFIGS = Path(__file__).parents[1] / "configs"


def test_the_configs_that_are_shipped_are_valid() -> None:
    sections = [yaml.safe_load(path.read_text())["RCAS"] for path in CONFIGS.rglob("*.yaml") if path.stem != "pretrain"]
    assert len(sections) >= 4
    for section in sections:
        parse_settings(section)
