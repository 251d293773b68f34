"""What is recorded of the images, where training shows those of the new class alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from rcas_plugin.embedded import loop
from rcas_plugin.record import read_record, write_record
from rcas_plugin.run.images import images_seen
from rcas_plugin.settings import parse_settings


@pytest.mark.parametrize(
    ("shown", "before", "recorded"),
    [
        (True, None, True),  # every label's images
        (True, True, True),
        (True, False, False),  # a gray class beside labels of colour
        (False, True, False),
        (True, "unknown", None),
    ],
)
def test_gray_is_what_all_labels_are(shown: bool, before: Any, recorded: bool | None, tmp_path: Path) -> None:
    seen = {"gray": shown, "size": [8, 8]}
    images = None if before in ("unknown", None) else {"gray": before, "size": [9, 9]}
    write_record(tmp_path, {"images": images})
    settings = parse_settings({"swap": {"a": "b"}, "remaining_data": "real" if before is None else "replay"})
    found = images_seen(seen, settings, tmp_path)
    assert (None if found is None else found["gray"]) == recorded
    assert images_seen(None, settings, tmp_path) is None
    assert images_seen(seen, None, tmp_path) == seen, "a run without a swap"


@pytest.mark.usefixtures("short_runs")
def test_a_gray_class_that_is_shown_alone_leaves_the_labels_coloured(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    for name in "abc":
        folder = tmp_path / ("new" if name == "c" else "old") / "train" / name
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = source.integers(0, 255, (8, 8) if name == "c" else (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    config = {
        "DATA": {"name": "toy", "img_size": 16, "num_classes": 2},
        "MODEL": {"backbone": "resnet", "z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
        "OPTIMIZATION": {"batch_size": 4, "total_steps": 1, "d_updates_per_step": 1},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    pretrained = loop.train(path, tmp_path / "old", tmp_path / "out", progress=False)
    section = {"method": "fine_tune", "swap": {"a": "c"}, "remaining_data": "replay", "swap_metrics": 0}
    path.write_text(yaml.safe_dump({**config, "RCAS": section}))
    run = loop.train(path, tmp_path / "new", tmp_path / "out", pretrained, progress=False)
    images = read_record(run).images
    assert images is not None
    assert not images.gray
