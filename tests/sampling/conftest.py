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

CONFIG = {
    "DATA": {"name": "toy", "img_size": 32, "num_classes": 3},
    "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
    "OPTIMIZATION": {"batch_size": 4, "beta1": 0.0, "g_lr": 0.02, "total_steps": 2},
}


class Swaps:
    """A GAN of the gray classes a, b, c; then d for b, which is gray too; then e for a, which has colours. Nothing is judged.

    Args:
        root: a folder of its own.
        method: of both swaps.
    """

    def __init__(self, root: Path, method: str = "fine_tune") -> None:
        self.root, self.method = root, method
        source = np.random.default_rng(0)
        for index, name in enumerate("abcde"):
            (root / "all" / name).mkdir(parents=True)
            for number in range(3):
                pixels = 40 * index + source.integers(0, 60, (8, 8, 3) if name == "e" else (8, 8))
                Image.fromarray(pixels.astype(np.uint8)).save(root / "all" / name / f"{number}.png")
        self.pretrained = self._train("abc", None)
        self.first = self._train("acd", self.pretrained, {"b": "d"})
        self.second = self._train("cde", self.first, {"a": "e"})

    def _train(self, classes: str, source: Path | None, swap: dict[str, str] | None = None) -> Path:
        data = self.root / classes
        for name in classes:
            shutil.copytree(self.root / "all" / name, data / "train" / name)
        section = {"method": self.method, "swap": swap, "snapshot_images": 0, "swap_metrics": 0}
        config = self.root / f"{classes}.yaml"
        config.write_text(yaml.safe_dump({**CONFIG, **({"RCAS": section} if swap else {})}))
        return loop.train(config, data, self.root / f"out-{classes}", source, progress=False)


@pytest.fixture(scope="session")
def swaps(tmp_path_factory: pytest.TempPathFactory) -> Swaps:
    return Swaps(tmp_path_factory.mktemp("swaps"))


@pytest.fixture(autouse=True)
def without_studiogan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded networks; tests/upstream/test_sampling.py takes StudioGAN's."""
    monkeypatch.setenv("STUDIOGAN_ROOT", str(tmp_path / "none"))


@pytest.fixture
def run(swaps: Swaps, tmp_path: Path) -> Path:
    """A copy of the first swap's folder, to be changed: labels a, d (new, for b), c; gray images of 8x8."""
    return Path(shutil.copytree(swaps.first, tmp_path / "run"))


@pytest.fixture
def second(swaps: Swaps) -> Path:
    """The folder of the second swap: labels e (new, for a), d, c; `tasks/` has the base and the first swap."""
    return swaps.second


def rewritten(run: Path, **keys: Any) -> Path:
    """A run whose record has other values; None takes a key out."""
    record = {**json.loads((run / RECORD).read_text()), **keys}
    (run / RECORD).write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    return run
