"""The pages that are written: a template of this room, filled, and whole or not there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rcas_plugin.files import atomic_path


def write_template(name: str, content: Mapping[str, Any], path: Path) -> Path:
    """Write a template of `rcas_plugin/report/`, filled with `content`; returns the path. What is filled in is escaped."""
    environment = Environment(loader=PackageLoader("rcas_plugin.report", "."), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    page = environment.get_template(name).render(content)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path
