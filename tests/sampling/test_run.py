"""A run opened by its folder alone, on the embedded networks; StudioGAN's are in tests/upstream/test_sampling.py."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.folder import checkpoint_files, read_states
from rcas_plugin.gan import sample_images
from rcas_plugin.record import RECORD, read_record
from rcas_plugin.sampling.run import open_run, shows_gray

from .conftest import Swaps, rewritten


def test_a_swap_is_opened_from_its_folder_alone(run: Path) -> None:
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    opened = open_run(run)
    assert (opened.labels, opened.slots, opened.size, opened.checkpoint.step) == (("a", "d", "c"), (1,), 32, 2)
    path = checkpoint_files(run, best=True)["G"]
    assert (opened.checkpoint.path, opened.checkpoint.sha256) == (path, hashlib.sha256(path.read_bytes()).hexdigest())
    state = read_states(run, best=True)["generator"]
    assert all(torch.equal(value, state[key]) for key, value in opened.gan.evaluated.state_dict().items())
    assert not any(module.training for network in opened.gan.networks.values() for module in network.modules())
    assert "RCAS" not in opened.config
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == files


def test_the_best_state_or_the_newest(run: Path) -> None:
    for path in run.glob("model=*-current-weights-step=2.pth"):
        content = torch.load(path, weights_only=True)
        content["state_dict"] = {key: value + 1 if value.is_floating_point() else value
                                 for key, value in content["state_dict"].items()}  # fmt: skip
        torch.save(content, path)
    best, newest = open_run(run), open_run(run, step="newest")
    assert torch.equal(newest.gan.generator.state_dict()["conv2d5.bias"], best.gan.generator.state_dict()["conv2d5.bias"] + 1)
    for path in run.glob("model=*-best-*"):
        path.unlink()
    assert open_run(run).checkpoint == newest.checkpoint, "a run that has no best state yet"


def test_half_a_best_state_is_none(run: Path) -> None:
    """A process that was killed in its first save as best leaves G without D."""
    for path in run.glob("model=*-best-*"):
        if not path.name.startswith("model=G-"):
            path.unlink()
    assert open_run(run).checkpoint == open_run(run, step="newest").checkpoint


def test_random_draws_go_on_as_if_nothing_was_opened(run: Path) -> None:
    state = torch.get_rng_state()
    open_run(run)
    assert torch.equal(torch.get_rng_state(), state)


def test_labels_that_nothing_records(run: Path) -> None:
    config = run.parent / "config.yaml"
    config.write_text(yaml.safe_dump(json.loads((run / RECORD).read_text())["config"]))
    (run / RECORD).unlink()
    with pytest.raises(RcasError, match="--cfg is missing"):
        open_run(run)
    opened = open_run(run, cfg=config)
    assert (opened.labels, opened.slots) == ((None,) * 3, ())


@pytest.mark.parametrize(("change", "sentence"), [
    ({"labels": ["a", "b"]}, "names 2 labels and the GAN has 3"),
    ({"config": {"DATA": {"img_size": 32}, "MODEL": {}}}, "holds no DATA.num_classes"),
    ({"config": {"DATA": {"img_size": 64, "num_classes": 3}, "MODEL": {}}}, "are StudioGAN's, and no StudioGAN in"),
    ({"config": {"DATA": {"img_size": 32, "num_classes": 3}, "MODEL": {"g_act_fn": "SiLU"}}}, "are StudioGAN's, and no"),
    ({"config": {"DATA": {"img_size": 32, "num_classes": 3}, "MODEL": {"z_dim": 4, "g_conv_dim": 2, "d_conv_dim": 1}}},
     "is not of this config's resnet network"),
])  # fmt: skip
def test_what_does_not_fit_is_said(run: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RcasError, match=sentence):
        open_run(rewritten(run, **change))


def test_a_studiogan_that_is_named_must_be_there(run: Path) -> None:
    with pytest.raises(RcasError, match="no StudioGAN in"):
        open_run(run, studiogan=run)


def test_the_record_says_whether_the_data_were_gray(run: Path, second: Path) -> None:
    record = read_record(run)
    assert record.images is not None
    assert (record.images.gray, record.images.size, open_run(run).gray) == (True, (8, 8), True)
    assert not open_run(second).gray, "one class has colours"
    assert not open_run(rewritten(run, images={"gray": False, "size": [8, 8]})).gray
    opened = open_run(rewritten(run, images=None))
    assert opened.gray == shows_gray(sample_images(opened.gan.evaluated, torch.ones(4, dtype=torch.long), opened.gan.latents))


def test_earlier_states(second: Path, swaps: Swaps) -> None:
    opened = open_run(second)
    assert [opened.labels_of(state) for state in (0, 1, None)] == [("a", "b", "c"), ("a", "d", "c"), ("e", "d", "c")]
    assert [opened.slots_of(state) for state in (0, 1, None)] == [(), (1,), (0,)]
    for state, folder in ((0, swaps.pretrained), (1, swaps.first), (None, second)):
        expected = read_states(folder, best=True)["generator"]
        assert all(torch.equal(value, expected[key]) for key, value in opened.generator_of(state).state_dict().items())
        assert not opened.generator_of(state).training


def test_images_show_whether_the_data_were_gray() -> None:
    gray = torch.rand(4, 1, 8, 8) * 2 - 1
    assert shows_gray(gray)
    assert shows_gray(gray + 0.04 * torch.rand(4, 3, 8, 8) - 0.02)
    assert not shows_gray(gray + torch.tensor([0.0, 0.0, 0.1]).view(1, 3, 1, 1))
