"""`rcas widen` on StudioGAN's own networks, and a swap through main.py into a label that it added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import Gan, RcasError
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.gan import sample_images
from rcas_plugin.record import read_record
from rcas_plugin.sampling.run import open_run
from rcas_plugin.studiogan.networks import load_gan
from rcas_plugin.weights.batch_norm import reestimate_batch_norm
from rcas_plugin.widen import widen_checkpoint

from .conftest import TRAIN, Trained, run_main, write_config
from .test_backbones import BACKBONES, NAMES, build
from .test_sampling import written

ALL = torch.tensor([0, 1, 2])


def lively(gan: Gan) -> Gan:
    """A GAN whose images differ by label, and whose spectral norms have settled; StyleGAN has no batch norm to estimate."""
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    reestimate_batch_norm(gan.generator, ALL.tolist(), gan.latents, batches=5)
    return gan


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("name", NAMES)
def test_old_labels_stay_as_they_were(name: str, studiogan: Path, tmp_path: Path) -> None:
    gan = lively(build(studiogan, tmp_path, name))
    checkpoint, config = written(tmp_path / "ckpt", gan), tmp_path / f"{name}-3.yaml"
    options: dict[str, Any] = {"old": ["a", "b", "c"], "cfg": config, "studiogan": studiogan}
    if name == "resnet-multi-hinge":  # a row for what is fake beside those of the labels
        with pytest.raises(RcasError, match=r"^--labels: rcas widen cannot give linear1\.\w+ of the discriminator other labels"):
            widen_checkpoint(checkpoint, tmp_path / "wide", ["d", "e"], **options)
        assert not (tmp_path / "wide").exists()
        return
    made = widen_checkpoint(checkpoint, tmp_path / "wide", ["d", "e"], **options)
    narrow = open_run(checkpoint, cfg=config, studiogan=studiogan).gan
    wide = open_run(tmp_path / "wide", studiogan=studiogan).gan  # its config is recorded
    before, after = (sample_images(one.evaluated, ALL, gan.latents) for one in (narrow, wide))
    if name == "stylegan2":  # its mapping divides by the root of the number of labels
        assert made.apart < 1e-5
        torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    else:
        assert made.apart == 0
        assert torch.equal(after, before)
    new = sample_images(wide.evaluated, torch.tensor([3, 4, 3]), gan.latents)
    assert not any(torch.equal(one, other) for one in new for other in before)


def test_spectral_norm_on_the_tables_of_g(studiogan: Path, tmp_path: Path, upstream: Any) -> None:
    torch.manual_seed(0)
    config = write_config(tmp_path / "normed.yaml", MODEL={**BACKBONES["resnet"], "apply_g_sn": True})
    gan = lively(load_gan(studiogan, config, None))
    assert any(name.endswith("gain.weight_orig") for name in gan.generator.state_dict())
    checkpoint = written(tmp_path / "ckpt", gan)
    made = widen_checkpoint(checkpoint, tmp_path / "wide", ["d"], old=["a", "b", "c"], cfg=config, studiogan=studiogan)
    assert made.apart == 0
    wide = open_run(tmp_path / "wide", studiogan=studiogan).gan
    assert torch.equal(*(sample_images(one.evaluated, ALL, gan.latents) for one in (gan, wide)))


@pytest.mark.slow
def test_main_py_swaps_a_class_into_a_new_label(trained: Trained, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    made = widen_checkpoint(trained.checkpoint, wide, ["d", "e"], studiogan=trained.studiogan)
    assert (made.labels, made.apart) == (("a", "b", "c", "d", "e"), 0)
    section = {"method": "fine_tune", "swap": {"d": "d"}, "snapshot_images": 0, "swap_metrics": 0}
    config = write_config(tmp_path / "swap.yaml", classes=5, RCAS=section)
    common = ("-cfg", config, "-data", trained.new_data, "-save", tmp_path / "out")
    ended = run_main(trained.studiogan, *TRAIN, *common, "-ckpt", wide)
    assert "label 3: d, new" in ended.stdout
    assert "label 4: not used any more" in ended.stdout
    (run,) = (tmp_path / "out" / "checkpoints").iterdir()
    record = read_record(run)
    assert (record.remaining, record.slots, record.dropped) == ((0, 1, 2), {3: "d"}, {"e"})
    column = [Checkpoint.read(folder).states["generator"]["blocks.0.0.bn1.gain.weight"] for folder in (wide, run)]
    assert not torch.equal(column[0][:, 3], column[1][:, 3])
    assert torch.equal(column[0][:, 4], column[1][:, 4])
