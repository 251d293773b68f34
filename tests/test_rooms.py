"""The rooms of the package: small modules, and upstream behind one door. Their order is in pyproject.toml, for `lint-imports`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rcas_plugin"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
#: The modules that lie in upstream's src.
UPSTREAM = {"config", "configs", "data_util", "loader", "main", "metrics", "models", "sync_batchnorm", "utils", "worker"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_one_purpose_and_is_read_in_one_go(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, by a statement or by `import_module` with a name that stands there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant))


def test_only_one_room_imports_upstream() -> None:
    rooms = {
        path.relative_to(PACKAGE).parts[0] for path in MODULES for name in imported(path) if name.partition(".")[0] in UPSTREAM
    }
    assert rooms == {"studiogan"}
