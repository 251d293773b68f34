"""Pictures are PNG files that hold what they were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rcas_plugin.report.pictures import draw_before_after, draw_curves
from rcas_plugin.watch.machine import describe_run


def test_before_after(tmp_path: Path) -> None:
    images, labels = torch.full((4, 3, 8, 8), -1.0), torch.tensor([0, 0, 1, 1])
    images[2:] = 1.0
    draw_before_after(tmp_path / "a.png", {"before": (images, labels)}, {0: "zero", 1: "one"}, per_cell=2)
    with Image.open(tmp_path / "a.png") as image:
        pixels = np.asarray(image.convert("L"))
    dark = (pixels == 0).mean(1)
    assert dark[: len(dark) // 2].max() > 0.5, "the upper row is label 0, black"
    assert dark[len(dark) * 3 // 4 :].max() < 0.2, "the lower row is label 1, white"


def test_curves(tmp_path: Path) -> None:
    draw_curves(tmp_path / "c.png", {"quantity": {"run": {0: (1.0, 0.8, 1.2), 10: (0.1, 0.1, 0.1)}}}, logarithmic=["quantity"])
    with Image.open(tmp_path / "c.png") as image:
        assert image.size[0] > 300


def test_a_results_file_says_where_it_is_from() -> None:
    found = describe_run()
    assert set(found) == {"machine", "python", "torch", "commit", "command", "date"}
