"""The router around upstream's own generators: spectral norm, StyleGAN's one-hot labels and noise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcas_plugin.checkpoints.router import Router
from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.studiogan.networks import load_gan

from .conftest import write_config
from .test_stylegan import stylegan


def routed(gan: Gan) -> None:
    """Assert that a router gives for each label what the generator with its state gives, and changes nothing."""
    generator, latents = gan.generator, gan.latents
    first = {key: value.clone() for key, value in generator.state_dict().items()}
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=source))
    second = {key: value.clone() for key, value in generator.state_dict().items()}
    wanted = {}
    for name, state in (("first", first), ("second", second)):
        generator.load_state_dict(state)
        wanted[name] = [sample_images(generator, torch.full((3,), label), latents, seed=1) for label in range(3)]
    torch.nn.init.zeros_(next(generator.parameters()))
    own = {key: value.clone() for key, value in generator.state_dict().items()}
    router = Router(generator, [first, second], [(1, 0), (0, 2), (1, 1)])
    for label, images in enumerate((wanted["second"][0], wanted["first"][2], wanted["second"][1])):
        assert torch.equal(sample_images(router, torch.full((3,), label), latents, seed=1), images)
    assert not torch.equal(wanted["first"][1], wanted["second"][1])
    assert sample_images(router, torch.tensor([0, 1, 2]), latents).shape == wanted["first"][0].shape
    assert all(torch.equal(value, own[key]) for key, value in generator.state_dict().items())
    assert all(torch.equal(value, first[key]) for key, value in router.states[0].items()), "spectral norm iterates on none"


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("backbone", ["resnet", "big_resnet"])
def test_spectral_norm(studiogan: Path, tmp_path: Path, backbone: str) -> None:
    model = {"apply_g_sn": True, "backbone": backbone, "g_shared_dim": 4} if backbone == "big_resnet" else {"apply_g_sn": True}
    routed(load_gan(studiogan, write_config(tmp_path / "sn.yaml", MODEL=model), None))


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("backbone", ["stylegan2", "stylegan3"])
def test_stylegan(studiogan: Path, tmp_path: Path, backbone: str) -> None:
    routed(stylegan(studiogan, tmp_path, backbone=backbone))
