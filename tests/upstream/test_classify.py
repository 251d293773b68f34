"""`rcas classify` where StudioGAN's main.py trains the GAN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rcas_plugin import cli
from rcas_plugin.checkpoints.folder import checkpoint_files, step_of
from rcas_plugin.lifelong.generators import newest_run
from rcas_plugin.record import read_record
from rcas_plugin.report.classify import read_classify

from ..lifelong.test_command import PLAN, write
from .conftest import write_config


@pytest.mark.slow
@pytest.mark.usefixtures("upstream")
def test_classifier_and_gan_in_turn(tmp_path: Path, studiogan: Path) -> None:
    path = write(tmp_path, strategies=["replay", "gan_memory"], size=32)
    # an activation that the embedded networks do not have
    config = write_config(tmp_path / "gan.yaml", classes=2, steps=4, MODEL={"g_act_fn": "Leaky_ReLU"})
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out"), "--studiogan", str(studiogan)]) == 0
    results = read_classify(tmp_path / "out")
    assert results is not None
    assert [figures.name for figures in results.strategies] == ["replay", "gan_memory"]
    first = newest_run(tmp_path / "out" / "seed-0" / "gan-0")
    assert first is not None
    assert step_of(checkpoint_files(first)["D"]) >= 4
    steps = yaml.safe_load(config.read_text())["OPTIMIZATION"]["total_steps"]
    for name in ("replay", "gan_memory"):
        run = newest_run(tmp_path / "out" / "seed-0" / name / "gan-1")
        assert run is not None
        record = read_record(run)
        assert record.slots == {2: PLAN["tasks"][1][0]}
        assert record.remaining == (0, 1)
        assert step_of(checkpoint_files(run)["D"]) >= steps


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize(
    ("strategies", "model", "sentence"),
    [
        (["feature_replay"], {"d_cond_mtd": "AC"}, "gan.rcas.feature_replay: RCAS.method: feature_replay puts a D of its own"),
        (["replay"], {"g_cond_mtd": "W/O"}, "gan.cfg: this generator has no row or column a label"),
        (["replay"], {"g_conv_dims": 3}, "gan.cfg: the config has a key that StudioGAN does not know: "),
        (["replay"], {"backbone": "no_such"}, "gan.cfg: StudioGAN builds no networks of the config"),
    ],
)
def test_what_studiogans_networks_do_not_allow_is_refused_at_the_start(
    tmp_path: Path,
    studiogan: Path,
    strategies: list[str],
    model: dict[str, Any],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(tmp_path, strategies=strategies, size=32)
    write_config(tmp_path / "gan.yaml", classes=2, steps=4, MODEL={"g_act_fn": "Leaky_ReLU", **model})
    assert cli.main(["classify", str(path), "-o", str(tmp_path / "out"), "--studiogan", str(studiogan)]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
