"""rcas fold on the checkpoint of an embedded run: files, optimisers, the record, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.cli import main
from rcas_plugin.embedded import loop as embedded
from rcas_plugin.gan import sample_images
from rcas_plugin.record import RECORD, read_record
from rcas_plugin.studiogan.folding import fold_checkpoint
from rcas_plugin.watch.snapshots import load_snapshot
from rcas_plugin.weights.adapters import adapted

from ..shared import short_endings

pytestmark = pytest.mark.usefixtures("short_runs")


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels a, b, pre-trained for a step; then b becomes c and d is added, in one step of each stage; the config beside it."""
    root = tmp_path_factory.mktemp("swapped")
    for index, name in enumerate("abcd"):
        (root / "data" / "train" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (32, 32), 50 * index + number).save(root / "data" / "train" / name / f"{number}.png")
    config: dict[str, Any] = {
        "DATA": {"name": "toy", "img_size": 32, "num_classes": 2},
        "MODEL": {"z_dim": 4, "g_conv_dim": 1, "d_conv_dim": 1},
        "OPTIMIZATION": {"batch_size": 4, "total_steps": 1},
    }
    (root / "pretrain.yaml").write_text(yaml.safe_dump(config))
    old = root / "old" / "train"
    old.mkdir(parents=True)
    for name in "ab":
        (old / name).symlink_to(root / "data" / "train" / name)
    pretrained = embedded.train(root / "pretrain.yaml", root / "old", root / "out", progress=False)
    config["DATA"]["num_classes"], config["OPTIMIZATION"]["total_steps"] = 3, 2
    config["RCAS"] = {"method": "bn_propagation", "swap": {"b": "c"}, "add": ["d"], "stages": {"bn": 1},
                      "label_start": {"how": "mean"}, "snapshot_images": 2}  # fmt: skip
    (root / "swap.yaml").write_text(yaml.safe_dump(config))
    with short_endings():
        trained = embedded.train(root / "swap.yaml", root / "data", root / "out", pretrained, progress=False)
    return trained.rename(root / "run")


@pytest.fixture
def run(swapped: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed, and of its config, `swap.yaml`."""
    shutil.copy(swapped.with_name("swap.yaml"), tmp_path)
    return Path(shutil.copytree(swapped, tmp_path / "run"))


def test_a_plain_checkpoint_with_the_same_images(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    out = tmp_path / "folded"
    assert main(["fold", "-ckpt", str(run), "-o", str(out)]) == 0
    assert "similarity.png" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before, "the run is only read"
    for best in (False, True):
        for network, path in checkpoint_files(out, best=best).items():
            content = read_checkpoint(path)
            assert not adapted(content["state_dict"])
            assert content["optimizer"]["state"] == {}
            plain = embedded.load_gan(tmp_path / "swap.yaml", None).networks["generator" if network == "G" else "discriminator"]
            torch.optim.Adam(plain.parameters()).load_state_dict(content["optimizer"])  # refuses other numbers of parameters
    assert read_record(out).labels == ("a", "c", "d")
    assert read_record(out).folded_from == str(run)
    images, labels = load_snapshot(run, "step=2")
    gan = embedded.load_gan(tmp_path / "swap.yaml", out)
    torch.testing.assert_close(sample_images(gan.generator, labels, gan.latents), images, rtol=0, atol=0.5 / 127.5 + 1e-5)


def test_a_run_of_an_earlier_version_is_folded(run: Path, tmp_path: Path) -> None:
    """D7: what the method records lies under its own key now, and is found at its old place as well; odd numbers are refused."""
    record = json.loads((run / RECORD).read_text())
    counts = record.pop("method")["plain_parameters"]
    (run / RECORD).write_text(json.dumps({**record, "plain_parameters": counts}))
    fold_checkpoint(run, tmp_path / "folded")
    optimizer = read_checkpoint(checkpoint_files(tmp_path / "folded")["G"])["optimizer"]
    assert len(optimizer["param_groups"][0]["params"]) == counts["generator"]
    for odd in ({"generator": 10**9, "discriminator": 10**9}, {"generator": "many"}, 3):
        (run / RECORD).write_text(json.dumps({**record, "plain_parameters": odd}))
        with pytest.raises(RcasError, match="does not say how many parameters"):
            fold_checkpoint(run, tmp_path / "odd")
    assert not (tmp_path / "odd").exists()


def test_what_cannot_be_folded(run: Path, tmp_path: Path) -> None:
    fold_checkpoint(run, tmp_path / "folded")
    with pytest.raises(RcasError, match="there is nothing to fold"):
        fold_checkpoint(tmp_path / "folded", tmp_path / "again")
    with pytest.raises(RcasError, match="is the run itself"):
        fold_checkpoint(run, run)
    record = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({key: value for key, value in record.items() if key != "method"}))
    with pytest.raises(RcasError, match="does not say how many parameters"):
        fold_checkpoint(run, tmp_path / "no_record")
