"""Importance on upstream's own backbones against the loop; checkpoints of the embedded networks in upstream's and back."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from rcas_plugin import reinitialize, select_synapses, synapse_importance
from rcas_plugin.embedded import loop as embedded
from rcas_plugin.gan import Gan, generate, sample_images
from rcas_plugin.studiogan.networks import load_gan
from rcas_plugin.studiogan.run import empty_networks

from .conftest import write_config

BIG = {"z_dim": 8, "g_shared_dim": 4, "g_conv_dim": 4, "d_conv_dim": 4, "apply_g_sn": True, "apply_attn": True,
       "attn_g_loc": [2], "attn_d_loc": [1]}  # fmt: skip
STYLE = {
    "MODEL": {"g_cond_mtd": "cAdaIN", "d_cond_mtd": "SPD", "apply_d_sn": False, "g_act_fn": "Auto", "d_act_fn": "Auto",
              "z_dim": 8, "w_dim": 8, "g_conv_dim": "N/A", "d_conv_dim": "N/A"},
    "STYLEGAN": {"g_reg_interval": 4, "d_reg_interval": 16, "mapping_network": 2, "style_mixing_p": 0.0, "pl_weight": 0,
                 "d_architecture": "orig", "d_epilogue_mbstd_group_size": 4},
}  # fmt: skip
BACKBONES: dict[str, dict[str, Any]] = {
    "resnet": {},
    "resnet-without-sn": {"MODEL": {"apply_d_sn": False}},
    "resnet-ac": {"MODEL": {"d_cond_mtd": "AC"}},
    "resnet-multi-hinge": {"MODEL": {"d_cond_mtd": "MH"}, "LOSS": {"adv_loss": "MH"}},
    "deep_conv": {"MODEL": {"backbone": "deep_conv", "g_conv_dim": "N/A", "d_conv_dim": "N/A"}},
    "big_resnet": {"MODEL": {"backbone": "big_resnet", **BIG}},
    "big_resnet_deep_legacy": {"MODEL": {"backbone": "big_resnet_deep_legacy", **BIG, "g_depth": 1, "d_depth": 1}},
    "big_resnet_deep_studiogan": {"MODEL": {"backbone": "big_resnet_deep_studiogan", **BIG, "g_depth": 1, "d_depth": 1}},
    "stylegan2": {**STYLE, "MODEL": {**STYLE["MODEL"], "backbone": "stylegan2"}},
}
#: Of each family one is in the quick tests; those that are wide or deep are not.
SLOW = ("resnet-without-sn", "resnet-ac", "deep_conv", "big_resnet_deep_legacy", "big_resnet_deep_studiogan")
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in BACKBONES]


def build(studiogan: Path, folder: Path, name: str, classes: int = 3) -> Gan:
    torch.manual_seed(0)
    gan = load_gan(studiogan, write_config(folder / f"{name}-{classes}.yaml", classes=classes, **BACKBONES[name]), None)
    for module in gan.generator.modules():  # StyleGAN draws noise in each forward pass
        if hasattr(module, "use_noise"):
            module.use_noise = False
    return gan


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("name", NAMES)
def test_importance_equals_the_loop(name: str, studiogan: Path, tmp_path: Path) -> None:
    gan = build(studiogan, tmp_path, name)
    with torch.no_grad():  # spectral norm's vectors and batch norm's statistics leave their initial values
        for _ in range(3):
            labels = torch.tensor([0, 1, 2, 0])
            images = generate(gan.generator, torch.randn(4, gan.generator.z_dim), labels)
            gan.discriminator(images, labels)
    samples, label = 5, 1
    found = synapse_importance(gan.generator, gan.discriminator, labels=[label], num_samples=samples, latents=gan.latents, seed=2)
    networks = {"generator": copy.deepcopy(gan.generator).eval(), "discriminator": copy.deepcopy(gan.discriminator).eval()}
    z = gan.latents(samples, torch.Generator().manual_seed(2))
    mean = {(role, n): torch.zeros_like(p) for role, net in networks.items() for n, p in net.named_parameters()}
    for k in range(samples):
        for net in networks.values():
            net.zero_grad()
        y = torch.tensor([label])
        logit = networks["discriminator"](generate(networks["generator"], z[k : k + 1], y), y)["adv_output"].reshape(-1)
        (logit[label] if len(logit) > 1 else logit[0]).backward()
        for role, net in networks.items():
            for n, p in net.named_parameters():
                if p.grad is not None:
                    mean[role, n] += p.grad.abs() / samples
    covered = 0
    for role, weights in found.weights.items():
        for n, value in weights.items():
            by_hand = mean[role, n]
            assert (value - by_hand).abs().max() <= 1e-4 * by_hand.abs().max() + 1e-7, f"{role} {n}"
            covered += value.numel()
        layers = [m for m in networks[role].modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding)]
        assert len(weights) >= len(layers), "every conv, transposed conv, linear and embedding weight"
    assert covered > 1000
    assert any(value.max() > 0 for value in found.generator.values())

    selection = select_synapses(found, ratio=0.1)
    assert reinitialize([gan.generator, gan.discriminator], selection) > 50
    assert sample_images(gan.generator, torch.tensor([0, 1]), gan.latents).isfinite().all()


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("name", NAMES)
def test_the_shapes_that_a_checkpoint_is_checked_against_are_the_networks(
    name: str, studiogan: Path, upstream: Callable[[str], Any], tmp_path: Path
) -> None:
    gan = build(studiogan, tmp_path, name)
    before = torch.get_rng_state()
    cfgs = upstream("config").Configurations(str(tmp_path / f"{name}-3.yaml"))
    cfgs.RUN = SimpleNamespace(mixed_precision=False)
    found = empty_networks(cfgs)
    assert torch.equal(torch.get_rng_state(), before)
    for network, built in (("G", gan.generator), ("D", gan.discriminator)):
        assert {key: value.shape for key, value in found[network].items()} == {
            key: value.shape for key, value in built.state_dict().items()
        }


def test_embedded_checkpoints_load_in_upstream_and_back(studiogan: Path, upstream: Any, tmp_path: Path) -> None:
    config = write_config(tmp_path / "resnet.yaml")
    theirs = build(studiogan, tmp_path, "resnet")
    ours = embedded.load_gan(config, None)
    assert list(theirs.generator.state_dict()) == list(ours.generator.state_dict())
    assert [n for n, _ in theirs.generator.named_parameters()] == [n for n, _ in ours.generator.named_parameters()]
    assert [n for n, _ in theirs.discriminator.named_parameters()] == [n for n, _ in ours.discriminator.named_parameters()]
    with torch.no_grad():
        for buffer in theirs.generator.buffers():
            if buffer.dtype.is_floating_point:
                buffer.uniform_(0.5, 1.5)
        for _ in range(5):
            theirs.discriminator(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    ours.generator.load_state_dict(theirs.generator.state_dict())
    ours.discriminator.load_state_dict(theirs.discriminator.state_dict())
    labels = torch.tensor([0, 1, 2, 2])
    images = sample_images(theirs.generator, labels, theirs.latents)
    torch.testing.assert_close(sample_images(ours.generator, labels, ours.latents), images, atol=1e-5, rtol=1e-5)
    judged = [net.eval()(images, labels)["adv_output"] for net in (theirs.discriminator, ours.discriminator)]
    torch.testing.assert_close(judged[1], judged[0], atol=1e-5, rtol=1e-5)
