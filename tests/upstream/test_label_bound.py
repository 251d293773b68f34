"""Label-bound parameters on upstream's own backbones: found by what reaches a layer, matched, and no other label moves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rcas_plugin.gan import sample_images
from rcas_plugin.methods.label_start import match_features
from rcas_plugin.weights.batch_norm import reestimate_batch_norm
from rcas_plugin.weights.label_bound import find_label_bound

from .. import warm_python
from .conftest import Trained
from .test_backbones import NAMES, build

#: (tensors of G, tensors of D) that have a row or a column a label.
EXPECTED = {
    "resnet": (12, 1),  # gain and bias of two batch norms in each of three blocks; the projection
    "resnet-without-sn": (12, 1),
    "resnet-ac": (12, 0),  # an auxiliary classifier is not asked for the label
    "resnet-multi-hinge": (12, 0),
    "deep_conv": (6, 1),
    "big_resnet": (1, 1),  # the shared embedding
    "big_resnet_deep_legacy": (1, 1),
    "big_resnet_deep_studiogan": (1, 1),
    "stylegan2": (1, 1),  # the mapping networks' label columns
}


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("name", NAMES)
def test_found_and_matched_with_every_other_label_left_as_it_was(name: str, studiogan: Path, tmp_path: Path) -> None:
    gan = build(studiogan, tmp_path, name)
    found = find_label_bound(gan, 3)
    counts = tuple(sum(bound.role == role for bound in found) for role in ("generator", "discriminator"))
    assert counts == EXPECTED[name]
    for bound in found:
        assert bound.weight.shape[bound.dim] == 3

    reestimate_batch_norm(gan.generator, [0, 1, 2], gan.latents, batches=5)  # images of new networks are saturated without
    labels = torch.tensor([0, 1, 2])
    before = sample_images(gan.generator, labels, gan.latents)
    size = 4 if name == "stylegan2" else 3  # StyleGAN's minibatch statistics take groups of four
    real = torch.rand(2 * size, 3, 32, 32) - 0.5
    losses = match_features(gan, 3, 1, real, iterations=3, batch_size=8)
    assert len(losses) == 3
    after = sample_images(gan.generator, labels, gan.latents)
    assert not torch.equal(after[1], before[1])
    # big_resnet's conditional layers are under spectral norm, but what is edited is the embedding in front of them
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_importance_command_reads_a_checkpoint_of_studiogans(trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "look"
    ended = warm_python.run("-m", "rcas_plugin.cli", "importance", "-cfg", trained.config, "-ckpt", trained.checkpoint,
                            "--labels", "b", "--samples", "4", "-o", out, "--studiogan", trained.studiogan)  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    summary = json.loads((out / "importance.json").read_text())
    assert (summary["targets"], summary["labels"]) == ([1], ["a", "b", "c"])
    gain = summary["layers"]["generator"]["blocks.0.0.bn1.gain.weight"]
    assert gain["shape"][1] == 3
    assert {path.name for path in out.iterdir()} == {
        "importance.json", "heat_maps_generator.png", "heat_maps_discriminator.png", "histogram.png", "overlap.png",
    }  # fmt: skip
