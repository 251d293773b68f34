"""The method of another package, `tests/third_party/rcas_method_example`, installed as a user installs one: by pip."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rcas_plugin import registry, third_parties

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it along
    import tomli as tomllib

PACKAGE = Path(__file__).parents[1] / "third_party" / "rcas_method_example"


def example_methods() -> list[str]:
    """The methods that the package offers: its entry points are named like them."""
    about = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))
    return sorted(about["project"]["entry-points"][third_parties.GROUP])


def install_example(target: Path) -> Path:
    """Install the package into a folder with pip, without the network."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, "--target", str(target), str(PACKAGE)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return target


@contextmanager
def example_at_hand(site: Path) -> Iterator[None]:
    """Inside the block the package is found by its entry point, in this process and in those that it starts."""
    tables = (registry.methods, registry.adapters)
    before, loaded = [dict(table._entries) for table in tables], list(third_parties._loaded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(site), *sys.path])
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(site)])))
        third_parties._loaded.clear()
        try:
            assert not third_parties.broken_sentences()
            yield
        finally:
            for table, entries in zip(tables, before, strict=True):
                table._entries.clear()
                table._entries.update(entries)
            third_parties._loaded[:] = loaded
            for name in [name for name in sys.modules if name.partition(".")[0] == "rcas_method_example"]:
                del sys.modules[name]
