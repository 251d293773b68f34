"""`--GAN_train` and `--GAN_test` through the real main.py, on a data set of the user's own and on the CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from rcas_plugin.studiogan.accuracy_score import EPOCHS, SCORES

from .conftest import Trained, run_main, write_config, write_images

pytestmark = pytest.mark.slow

ONE_EPOCH: dict[str, Any] = {EPOCHS: "1"}
EVALUATE = ("-metrics", "none", "--num_workers", "0", "--seed", "1")


@pytest.fixture(scope="module")
def scored(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data set and the output of one run with both options; 3 classes of 6 images to train on, 2 of each to test on."""
    root = tmp_path_factory.mktemp("score")
    data = write_images(root / "data", "abc")
    for path in (data / "valid").glob("*/*.png"):
        if int(path.stem) > 1:
            path.unlink()
    config = write_config(root / "toy.yaml")
    ended = run_main(trained.studiogan, *EVALUATE, "-cfg", config, "-ckpt", trained.checkpoint, "-data", data, "-save",
                     root / "out", "--GAN_train", "--GAN_test", **ONE_EPOCH)  # fmt: skip
    return trained.checkpoint, ended.stdout + ended.stderr


def test_both_scores_of_a_custom_data_set(scored: tuple[Path, str]) -> None:
    """A name of its own was a KeyError, three labels have no best five, and the file's name was unbound."""
    checkpoint, output = scored
    scores = json.loads((checkpoint / SCORES).read_text())
    assert set(scores) == {"GAN_train", "GAN_test"}
    for score in scores.values():
        assert set(score["labels"]) == {"0", "1", "2"}
        assert score["top5"] == 100
        assert score["epochs"] == 1
    assert "GAN_train: top-1 " in output
    for mode in ("fake", "real"):
        content = torch.load(checkpoint / f"model=C-{mode}_trained-best-weights.pth", weights_only=True)
        assert content["epoch"] == 1


def test_the_test_images_are_others_than_the_training_images(scored: tuple[Path, str]) -> None:
    """Upstream's validates on what it trains on."""
    checkpoint, output = scored
    scores = json.loads((checkpoint / SCORES).read_text())
    assert scores["GAN_train"]["images"] == 6, "those in DATA/valid"
    assert scores["GAN_test"]["images"] == 18, "generated ones, as many as there are to train on"
    assert "tested on the 6 images of DATA/valid" in output


def test_of_a_swap_only_live_labels_and_the_new_class_count(trained: Trained, tmp_path: Path) -> None:
    """The slot's images are the new class's, a label that was dropped is never drawn, and -resume_ct goes on."""
    section = {"swap": {"b": "d"}, "remaining": ["a"], "snapshot_images": 0, "swap_metrics": 0, "label_start": {"how": "keep"}}
    config = write_config(tmp_path / "swap.yaml", RCAS=section)
    options = (*EVALUATE, "-cfg", config, "-ckpt", trained.checkpoint, "-data", trained.new_data, "-save", tmp_path / "out")
    run_main(trained.studiogan, "-t", "--print_freq", "2", "--save_freq", "2", *options, "--GAN_train", **ONE_EPOCH)
    (run,) = (tmp_path / "out" / "checkpoints").iterdir()
    score = json.loads((run / SCORES).read_text())["GAN_train"]
    assert set(score["labels"]) == {"0", "1"}
    (run / "model=C-fake_trained-best-weights.pth").write_bytes(b"nothing")
    ended = run_main(trained.studiogan, *options[:-4], "-data", trained.new_data, "-save", tmp_path / "out", "-ckpt", run,
                     "--GAN_train", "-resume_ct", ok=False, **ONE_EPOCH)  # fmt: skip
    assert ended.returncode == 2
    assert "-resume_ct: " in ended.stderr


def test_test_images_that_do_not_fit_are_refused_before_anything_is_written(trained: Trained, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", "abc")
    Image.new("L", (20, 40)).save(data / "valid" / "a" / "0.png")
    config = write_config(tmp_path / "toy.yaml")
    ended = run_main(trained.studiogan, *EVALUATE, "-cfg", config, "-ckpt", trained.checkpoint, "-data", data, "-save",
                     tmp_path / "out", "--GAN_train", ok=False)  # fmt: skip
    assert ended.returncode == 2
    assert "--pre_resizer is missing" in ended.stderr
    assert not (tmp_path / "out").exists()
