"""The same latents again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rcas_plugin.gan import Gan, gaussian_latents, sample_images
from rcas_plugin.watch.snapshots import load_snapshot, moments, save_snapshot


def test_a_snapshot_is_the_generators_images(pair: Any, tmp_path: Path) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    for moment in ("before", "reinit", "step=20", "step=100"):
        save_snapshot(tmp_path, moment, gan, (1, 3), 3)
    images, labels = load_snapshot(tmp_path, "step=20")
    assert labels.tolist() == [1, 1, 1, 3, 3, 3]
    expected = sample_images(pair[0], labels, gan.latents, seed=0)
    assert (images - expected).abs().max() <= 1 / 127.5
    assert torch.equal(images, load_snapshot(tmp_path, "before")[0])
    assert moments(tmp_path) == {0: "reinit", 20: "step=20", 100: "step=100"}


def test_none_are_written_where_none_are_wanted(pair: Any, tmp_path: Path) -> None:
    save_snapshot(tmp_path, "before", Gan(*pair, None, gaussian_latents(6)), (1,), 0)
    assert list(tmp_path.iterdir()) == []
