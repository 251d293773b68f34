"""Runs to take images out of: a swap, and a swap after it whose folder keeps the earlier states."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from rcas_plugin.embedded import loop
from rcas_plugin.record import RECORD

from ..shared import Watched


@pytest.fixture(autouse=True)
def without_studiogan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded networks; tests/upstream/test_sampling.py takes StudioGAN's."""
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "none"))


@pytest.fixture
def run(watched: Watched, tmp_path: Path) -> Path:
    """A copy of a swap's folder, to be changed: labels a, d (new, for b), c; gray images of 8x8."""
    return Path(shutil.copytree(watched.run, tmp_path / "run"))


@pytest.fixture(scope="session")
def second(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a swap of a for e after that of b for d: labels e, d, c; `tasks/` has the base and the first swap."""
    root = tmp_path_factory.mktemp("second")
    shutil.copytree(watched.root / "data", root / "data")
    shutil.rmtree(root / "data" / "train" / "a")
    (root / "data" / "train" / "e").mkdir()
    for number in range(6):
        colours = np.random.default_rng(number).integers(0, 255, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(colours).save(root / "data" / "train" / "e" / f"{number}.png")
    config = json.loads((watched.run / RECORD).read_text())["config"]
    section = {"method": "fine_tune", "swap": {"a": "e"}, "snapshot_images": 0, "swap_metrics": 0}
    (root / "second.yaml").write_text(yaml.safe_dump({**config, "RCAS": section}))
    return loop.train(root / "second.yaml", root / "data", root / "out", watched.run, progress=False)


def rewritten(run: Path, **keys: Any) -> Path:
    """A run whose record has other values; None takes a key out."""
    record = {**json.loads((run / RECORD).read_text()), **keys}
    (run / RECORD).write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    return run
