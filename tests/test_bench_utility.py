"""The grid's own swaps: each sees the real images of its row alone. One tiny row is really run."""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from rcas_plugin.embedded import steps


@pytest.fixture
def bench(load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script("bench_utility")
    monkeypatch.setitem(module.OPTIONS, "batch_size", 4)
    part = replace(module.PARTS["tiles, narrow"], widths=(1, 1), pretrain_steps=1, pretrain_options=module.OPTIONS)
    monkeypatch.setitem(module.PARTS, "tiles, narrow", part)
    return module


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """A zip file like that of the tiles: four classes, twelve gray training images and four test images each."""
    source = np.random.default_rng(0)
    path = tmp_path / "tiles.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part, first, last in (("train", 0, 12), ("valid", 20, 24)):
            for index, name in enumerate(("blowhole", "break", "crack", "free")):
                for number in range(first, last):
                    pixels = (50 * index + source.integers(0, 60, (16, 16))).astype(np.uint8)
                    with archive.open(f"{part}/{name}/{number // 2:04d}_{number % 2}.png", "w") as file:
                        Image.fromarray(pixels).save(file, format="PNG")
    return path


def test_a_tiny_grid(bench: ModuleType, tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    seen: list[torch.Tensor] = []
    begins = steps.Loop.__init__

    def watched(
        self: steps.Loop, gan: object, images: torch.Tensor, labels: torch.Tensor, *args: object, **kwargs: object
    ) -> None:
        seen.append(images[labels == 0])
        begins(self, gan, images, labels, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(steps.Loop, "__init__", watched)
    options = ["--tiles", tiles, "--sizes", "4", "6", "--seeds", "1", "--amounts", "1", "--narrow",
               "--gan-steps", "1", "--steps", "1", "--generated", "4", "--method", "fine_tune",
               "--out", tmp_path / "out"]  # fmt: skip
    command = [str(option) for option in options]
    assert bench.main([*command, "--part", "0/2"]) == 0
    assert not (tmp_path / "out" / "bench_utility.json").exists()
    assert bench.main(command) == 0
    # the slot is blowhole's, label 0: the pre-training saw its twelve images, each swap the few cracks of its row
    assert [len({image.numpy().tobytes() for image in images}) for images in seen] == [12, 4, 6]
    said = capsys.readouterr().out
    assert "With 6 real images of crack, generated images beside classical augmentation change its sensitivity by" in said
    assert "Each row's generator saw the real images of that row alone." in said
    found = json.loads((tmp_path / "out" / "bench_utility.json").read_text())["tiles"]
    assert found["saw"] is None
    assert [row["real"] for row in found["rows"]] == [4] * 5 + [6] * 5
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "rows").rglob("*.json")}
    assert len(files) == 2 * 7
    assert bench.main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in files} == files, "nothing is trained twice"
    assert len(seen) == 3


def test_the_old_class_is_set_aside(bench: ModuleType, tiles: Path, tmp_path: Path) -> None:
    args = argparse.Namespace(tiles=tiles, narrow=True, gans=None, out=tmp_path)
    data = bench.read_data(args, "tiles")
    assert (data.real.classes, data.new, data.old, data.labels) == (
        ("break", "crack", "free"), "crack", "blowhole", ["blowhole", "break", "free"]
    )  # fmt: skip
    assert torch.bincount(data.real.train.labels).tolist() == [12, 12, 12]
    assert all("blowhole" not in file for file in (*data.real.train.files, *data.real.test.files))
    assert bench.load(data.gan, len(data.labels), data.part).generator.num_classes == len(data.labels)


def test_a_method_that_sees_new_classes_alone_is_shown_no_others(
    bench: ModuleType, tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[set[int]] = []
    begins = steps.Loop.__init__

    def watched(
        self: steps.Loop,
        gan: object,
        images: torch.Tensor,
        labels: torch.Tensor,
        live: torch.Tensor,
        *args: object,
        **kwargs: object,
    ) -> None:
        shown.append({*labels.tolist(), *live.tolist()})
        begins(self, gan, images, labels, live, *args, **kwargs)  # type: ignore[arg-type]

    args = argparse.Namespace(tiles=tiles, narrow=True, out=tmp_path / "out", gans=None, method="gan_memory", gan_steps=1)
    data = bench.read_data(args, "tiles")
    monkeypatch.setattr(steps.Loop, "__init__", watched)
    gan, plan = bench.swapped(args, data, 4, 0)
    assert shown == [{0}], "the slot of blowhole"
    images = bench.stock_of(bench.drawing(gan, plan.names), data.real, 4).images
    assert images.shape == (12, 1, 32, 32)
    assert images.float().std() > 0
