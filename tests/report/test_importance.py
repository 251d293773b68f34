"""The look inside: figures by hand, pictures that show what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from rcas_plugin.cli import main
from rcas_plugin.embedded import loop
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.report.importance import inspect_importance, write_look


@pytest.mark.slow
def test_the_figures_are_the_importances_own(pair: Any, tmp_path: Path) -> None:
    look = inspect_importance(Gan(*pair, None, gaussian_latents(6)), [3], list("abcd"), samples=6, top=0.25)
    summary = write_look(look, tmp_path)
    assert json.loads((tmp_path / "importance.json").read_text()) == summary
    layer = summary["layers"]["generator"]["blocks.1.0.conv2d1.weight"]
    weights = [look.by_label[label].generator["blocks.1.0.conv2d1.weight"].double() for label in range(4)]
    remaining = torch.stack(weights[:3]).mean(0)
    assert layer["shape"] == list(weights[3].shape)
    assert layer["mean"] == pytest.approx(float(weights[3].mean()), rel=1e-5)
    assert layer["mean_remaining"] == pytest.approx(float(remaining.mean()), rel=1e-5)
    by_hand = stats.spearmanr(weights[3].flatten(), remaining.flatten()).statistic
    assert layer["rank_correlation"] == pytest.approx(by_hand, rel=1e-4)
    matrix = np.array(summary["overlap"]["generator"])
    assert matrix.shape == (4, 4)
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1)
    assert 0 < matrix[0, 3] < 1
    for name in ("heat_maps_generator", "heat_maps_discriminator", "histogram", "overlap"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, "something is drawn"


CONFIG = """
DATA: {name: toy, img_size: 32, num_classes: 3}
MODEL: {backbone: resnet, z_dim: 4, g_conv_dim: 1, d_conv_dim: 1}
OPTIMIZATION: {batch_size: 4, total_steps: 1}
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, Path]:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    for name in "abc":
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        Image.new("L", (8, 8), 100).save(tmp_path / "data" / "train" / name / "0.png")
    return config, loop.train(config, tmp_path / "data", tmp_path / "run", progress=False)


@pytest.mark.slow
def test_the_command(checkpoint: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, folder = checkpoint
    files = {path: path.read_bytes() for path in folder.iterdir()}
    out = tmp_path / "look"
    arguments = ["importance", "-cfg", str(config), "-ckpt", str(folder), "--labels", "b", "--samples", "3", "-o", str(out)]
    assert main([*arguments, "--embedded"]) == 0
    assert "generator: the top 10% of b shares" in capsys.readouterr().out
    assert json.loads((out / "importance.json").read_text())["targets"] == [1]
    assert {path: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        (["--labels", "z"], "--labels: z is no label; allowed: 0 to 2, or a name of: a, b, c"),
        (["--labels", "0", "1", "2"], "--labels names every label"),
        (["--labels", "0", "--top", "2"], "--top is 2.0"),
    ],
)
def test_mistakes(
    checkpoint: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str], key: str
) -> None:
    out = tmp_path / "look"
    assert (
        main(["importance", "-cfg", str(checkpoint[0]), "-ckpt", str(checkpoint[1]), "--embedded", "-o", str(out), *wrong]) == 2
    )
    assert key in capsys.readouterr().err
    assert not out.exists()


def test_no_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["importance", "-cfg", str(tmp_path / "no.yaml"), "-ckpt", str(tmp_path), "--labels", "0"]) == 2
    assert "-cfg: there is no file" in capsys.readouterr().err
