"""Tasks that lie apart, through the real main.py: four swaps in a row, and the first one's images to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rcas_plugin.checkpoints.router import load_router
from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.watch.snapshots import load_snapshot, moments

from ..methods import recorder
from .conftest import TRAIN, run_main, write_config, write_images
from .test_backbones import BACKBONES
from .test_promises import NETWORKS, build, pretrained
from .test_promises_in_runs import files, written

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("narrow_stylegan")]
#: Label 1 gets the first new class; label 0 three others, one after another; label 2 stays as it was pre-trained.
SWAPS = ({"b": "d"}, {"a": "e"}, {"e": "f"}, {"f": "g"})


def images_of(generator: torch.nn.Module, gan: Gan) -> list[Tensor]:
    """The images that the recorder notes of each label."""
    return [sample_images(generator, torch.full((3,), label), gan.latents) for label in range(3)]


@pytest.mark.parametrize("method", ["gan_memory", "piggyback"])
@pytest.mark.parametrize("name", ["SAGAN with EMA", "BigGAN with EMA", "deep_conv"])
def test_after_three_later_tasks_the_first_is_as_it_was(
    name: str, method: str, studiogan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through main.py and from the files; two networks of three have spectral norm in G, attention and averages."""
    monkeypatch.setitem(NETWORKS, "deep_conv", BACKBONES["deep_conv"])
    watched = tmp_path / "PyTorch-StudioGAN"
    shutil.copytree(studiogan / "src", watched / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (watched / "src" / "worker.py").open("a", encoding="utf-8") as file:
        file.write(recorder.WATCHED_WORKER)
    gan = pretrained(studiogan, tmp_path, name)
    source, data = written(gan, tmp_path / "pre"), write_images(tmp_path / "data", "abcdefg")
    before, images, shown = images_of(gan.evaluated, gan), [], []
    for number, swap in enumerate(SWAPS):
        out, lines = tmp_path / f"out-{number}", tmp_path / f"lines-{number}.jsonl"
        names = {} if number else {"labels": list("abc")}
        section = {"method": method, "swap": swap, "snapshot_images": 3, "swap_metrics": 0, **names}
        optimization = {**NETWORKS[name].get("OPTIMIZATION", {}), "g_lr": 0.01, "d_lr": 0.00002}
        config = write_config(tmp_path / "swap.yaml", steps=2, RCAS=section, **{**NETWORKS[name], "OPTIMIZATION": optimization})
        options = ("--seed", number, "-cfg", config, "-data", data, "-save", out, "-ckpt", source)
        run_main(watched, *TRAIN, *options, **recorder.environment(lines))
        (run,) = (out / "checkpoints").iterdir()
        (start,) = (line["before"] for line in recorder.read_lines(lines) if "before" in line)
        evaluated = start.get("ema", start["generator"])
        expected = images[-1] if images else before
        old = 1 if not number else 0  # under the base again, as its new task starts from there
        for label in {0, 1, 2} - {old}:
            assert evaluated[str(label)] == recorder.digest(expected[label]), f"label {label}, at the start of swap {number + 1}"
        if number:
            shutil.rmtree(source)
        fresh = build(studiogan, tmp_path, name, 3)
        images.append(images_of(load_router(run, fresh.evaluated), fresh))
        end, labels = load_snapshot(run, moments(run)[max(moments(run))])
        shown.append([end[labels == label] for label in range(3)])
        source = run
    for number in range(1, len(SWAPS)):
        for label in (1, 2):
            assert torch.equal(images[number][label], images[0][label]), f"label {label} after swap {number + 1}"
            assert torch.equal(shown[number][label], shown[0][label])
        assert not torch.equal(images[number][0], images[number - 1][0]), "each task has moved its own"
    assert torch.equal(images[-1][2], before[2])
    assert (images[0][1] - before[1]).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["gan_memory"])
@pytest.mark.parametrize("name", ["StyleGAN2", "StyleGAN3"])
def test_stylegan_is_refused_before_anything_is_written(
    name: str, method: str, studiogan: Path, narrow_studiogan: Path, tmp_path: Path
) -> None:
    source, data = written(pretrained(studiogan, tmp_path, name), tmp_path / "pre"), write_images(tmp_path / "data", "abcd")
    section: dict[str, Any] = {"method": method, "swap": {"b": "d"}, "labels": list("abc")}
    config = write_config(tmp_path / "swap.yaml", steps=2, RCAS=section, **NETWORKS[name])
    there = files(tmp_path)
    options = ("-cfg", config, "-data", data, "-save", tmp_path / "out", "-ckpt", source)
    ended = run_main(narrow_studiogan, *TRAIN, *options, ok=False)
    assert ended.returncode == 2, ended.stderr[-3000:]
    assert f"RCAS.method: {method} puts adapters around plain convolutions" in ended.stderr
    assert files(tmp_path) == there
