"""Every row of docs/faults.md has a test, which begins with the row's number."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "faults.md"


def _rows() -> list[str]:
    cells = re.findall(r"^\| ([A-Z]\d+(?:, [A-Z]\d+)*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [row for cell in cells for row in cell.split(", ")]


@functools.cache
def _rows_with_tests() -> set[str]:
    """The numbers that the docstrings of tests begin with: `F3: …`, `F12, D2: …`."""
    numbers: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                start = re.match(r"[A-Z]\d+(?:(?:, | and |/)[A-Z]\d+)*(?=\b)", ast.get_docstring(node) or "")
                numbers.update(re.findall(r"[A-Z]\d+", start.group()) if start else [])
    return numbers


@pytest.mark.parametrize("row", _rows())
def test_every_fault_has_a_test(row: str) -> None:
    assert row in _rows_with_tests()
