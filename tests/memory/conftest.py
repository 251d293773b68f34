"""Runs whose tasks lie apart: d for b, then e for a, by gan_memory on the embedded networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..sampling.conftest import Swaps


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Swaps:
    return Swaps(tmp_path_factory.mktemp("apart"), "gan_memory")


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Swaps:
    return Swaps(tmp_path_factory.mktemp("mixed"), "fine_tune")


@pytest.fixture(autouse=True)
def without_studiogan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded networks."""
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "none"))
