"""The README's promises on upstream's own networks, to the bit: every other label as it was, nothing else changes in stage bn."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import Context
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import Gan, generate, sample_images
from rcas_plugin.labels import DataClasses, resolve_labels
from rcas_plugin.methods.base import Method
from rcas_plugin.methods.bn_propagation.adapter import PropagatedParameters, propagations
from rcas_plugin.registry import methods
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.networks import load_gan
from rcas_plugin.weights.batch_norm import reestimate_batch_norm

from ..conftest import begin
from .conftest import write_config
from .test_backbones import BACKBONES, BIG, STYLE

SAGAN = {"apply_g_sn": True, "apply_attn": True, "attn_g_loc": [2], "attn_d_loc": [1], "g_conv_dim": 4, "d_conv_dim": 4}
EMA = {"apply_g_ema": True, "g_ema_decay": 0.5, "g_ema_start": 0}
INFO = {"info_type": "both", "g_info_injection": "cBN", "info_num_discrete_c": 2, "info_dim_discrete_c": 3, "info_num_conti_c": 2}
INFO_LOSS = {"infoGAN_loss_discrete_lambda": 1.0, "infoGAN_loss_conti_lambda": 1.0}
NETWORKS: dict[str, dict[str, Any]] = {
    "SAGAN": {"MODEL": SAGAN},
    "SAGAN with EMA": {"MODEL": {**SAGAN, **EMA}},
    "deep_conv with sn": {"MODEL": {**BACKBONES["deep_conv"]["MODEL"], "apply_g_sn": True}},
    "SNGAN-Info": {"MODEL": INFO, "LOSS": INFO_LOSS},
    "SNGAN-Info with sn": {"MODEL": {**INFO, "apply_g_sn": True, **EMA}, "LOSS": INFO_LOSS},
    "BigGAN with EMA": {"MODEL": {"backbone": "big_resnet", **BIG, **EMA}},
    "BigGAN-Info": {"MODEL": {"backbone": "big_resnet", **BIG, **INFO}},
    "StyleGAN2": {**STYLE, "MODEL": {**STYLE["MODEL"], "backbone": "stylegan2", "apply_g_ema": True}},
    "StyleGAN3": {
        "MODEL": {**STYLE["MODEL"], "backbone": "stylegan3", "apply_g_ema": True},
        "STYLEGAN": {**STYLE["STYLEGAN"], "stylegan3_cfg": "stylegan3-t"},
    },
}

pytestmark = pytest.mark.usefixtures("narrow_stylegan")


def build(studiogan: Path, folder: Path, name: str, classes: int) -> Gan:
    torch.manual_seed(0)
    gan = load_gan(studiogan, write_config(folder / f"{classes}.yaml", classes=classes, **NETWORKS[name]), None)
    for module in gan.generator.modules():  # StyleGAN2 draws noise in each forward pass
        if hasattr(module, "use_noise"):
            module.use_noise = False
    return gan


def pretrained(studiogan: Path, folder: Path, name: str) -> Gan:
    """Networks as training leaves them: norms turned, statistics gathered, an average that is not G."""
    gan = build(studiogan, folder, name, 3)
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            if parameter.ndim == 1:  # biases are 0 in new networks
                parameter.add_(0.1 * torch.randn_like(parameter))
        for _ in range(3):
            labels = torch.tensor([0, 1, 2, 0])
            gan.discriminator(generate(gan.generator, gan.latents(4, torch.Generator().manual_seed(0)), labels), labels)
        reestimate_batch_norm(gan.generator, [0, 1, 2], gan.latents, batches=5)
        if gan.ema is not None:
            for average, tensor in zip(gan.ema.state_dict().values(), gan.generator.state_dict().values(), strict=True):
                if tensor.is_floating_point():
                    average.copy_(tensor + 0.01 * torch.randn_like(tensor) * tensor.std(correction=0))
    return gan


def states_of(gan: Gan) -> dict[str, Mapping[str, Any]]:
    states = {name: copy.deepcopy(dict(network.state_dict())) for name, network in gan.networks.items()}
    return {**states, "ema": states.get("ema", states["generator"])}


def method_for(name: str, labels: int, **section: Any) -> Method:
    settings = parse_settings({"method": name, "labels": list("abc"), "retain": 0, **section})
    plan = resolve_labels(settings, labels, DataClasses(tuple("abcdef"), (500,) * 6), num_before=3)
    real = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(5)) - 0.5
    return methods[name](Context(settings, plan, 1, 4, log=lambda line: None, real_images=lambda label, n: real))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method_name", "section", "labels"),
    [
        ("class_swap", {"swap": {"b": "d"}}, 3),
        ("class_swap", {"swap": {"b": "d"}, "label_start": {"how": "mean"}}, 3),
        ("bn_propagation", {"swap": {"b": "d"}}, 3),
        ("bn_propagation", {"swap": {"b": "d"}, "add": ["e", "f"]}, 5),
    ],
    ids=["match", "mean", "propagation", "propagation to more labels"],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_other_label_as_it_was(
    name: str, method_name: str, section: dict[str, Any], labels: int, studiogan: Path, tmp_path: Path
) -> None:
    """F2, F3, F4: preparation leaves other labels' images as they were to the bit, of G and of its average; the slot's move."""
    before = pretrained(studiogan, tmp_path, name)
    gan = build(studiogan, tmp_path, name, labels)
    start = {"how": "match", "iterations": 3, "batch_size": 8, **section.get("label_start", {})}
    method = method_for(method_name, labels, **{**section, "label_start": start})
    begin(method, gan, states_of(before))
    for was, now in ((before.generator, gan.generator), (before.evaluated, gan.evaluated)):
        # apart: StyleGAN3 scales styles by their mean over the batch, which rounds otherwise where the slot's are among them
        (old, new), (old_slot, new_slot) = (
            [sample_images(network, torch.tensor(shown), gan.latents, seed=4) for network in (was, now)]
            for shown in ([0, 2, 2], [1, 1, 1])
        )
        assert old.std() > 1e-3
        assert (new_slot - old_slot).abs().max() > 0.01 * old.std()
        if labels != 3 and ("NGAN-Info" in name or "Style" in name):
            # codes and label go through one product, of another length now; StyleGAN divides by the root of the number of labels
            torch.testing.assert_close(new, old, rtol=0, atol=1e-5)
        else:
            assert torch.equal(new, old)


def as_upstream_draws(generator: torch.nn.Module) -> Callable[..., torch.Tensor]:
    """G in training as upstream's worker calls it: StyleGAN's two parts apart, which are told to update their averages."""
    if not hasattr(generator, "mapping"):
        return generator

    def draw(z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        ws = generator.mapping(z, torch.nn.functional.one_hot(labels, generator.c_dim), truncation_psi=1, update_emas=True)
        images: torch.Tensor = generator.synthesis(ws, update_emas=True)
        return images

    return draw


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_stage_bn_changes_nothing_else(name: str, studiogan: Path, upstream: Callable[[str], Any], tmp_path: Path) -> None:
    """F6, D9: in stage bn scores, residuals and the labels' tables change alone; no buffer of G or of its average does."""
    before = pretrained(studiogan, tmp_path, name)
    gan = build(studiogan, tmp_path, name, 4)
    method = method_for("bn_propagation", 4, swap={"b": "d"}, add=["e"], label_start={"how": "mean"}, stages={"bn": 4})
    lifecycle = begin(method, gan, states_of(before))
    trained = set(PropagatedParameters.of(gan.generator).every)
    names = {name for name, parameter in gan.generator.named_parameters() if parameter in trained}
    start = {role: dict(states_of(gan)[role]) for role in ("generator", "ema")}
    drawn = Drawn(gan.generator)
    loop = Loop(Gan(gan.generator, gan.discriminator, None, gan.latents), torch.rand(8, 3, 32, 32) - 0.5, torch.arange(8) % 4,
                torch.arange(4), {"batch_size": 8, "beta1": 0.0, "g_lr": 0.01}, torch.Generator().manual_seed(0),
                lifecycle=lifecycle)  # fmt: skip
    loop.gan.generator = drawn
    for step in range(2):
        loop.step(step)
    if gan.ema is not None:  # as upstream's evaluation does it, with layers that spectral norm turns
        controller = upstream("utils.misc")
        gan.ema.eval()
        gan.ema.apply(controller.set_deterministic_op_trainable)
        with torch.no_grad():
            as_upstream_draws(gan.ema)(gan.latents(8, torch.Generator().manual_seed(0)), torch.arange(8) % 4)
    moved = {key for key, value in gan.generator.state_dict().items() if differs(value, start["generator"][key])}
    assert moved == names
    if gan.ema is not None:
        assert not {key for key, value in gan.ema.state_dict().items() if differs(value, start["ema"][key])}
    for path, made in propagations(gan.generator).items():  # the codes' columns of a table are nobody's label
        key = f"{path.rpartition('.')[0]}.parametrizations.{path.rpartition('.')[2]}.original"
        table, old = gan.generator.state_dict()[key], start["generator"][key]
        outside = [index for index in range(table.shape[made.dim]) if not made.offset <= index < made.offset + made.rows]
        assert len(outside) == (table.shape[made.dim] - 3)
        assert torch.equal(*(one.index_select(made.dim, torch.tensor(outside, dtype=torch.long)) for one in (table, old)))


def differs(now: Any, before: Any) -> bool:
    return not torch.equal(now, before) if isinstance(now, torch.Tensor) else now != before


class Drawn(torch.nn.Module):
    """Stands for G in the loop, and draws as upstream does."""

    def __init__(self, generator: torch.nn.Module) -> None:
        super().__init__()
        self.inner = generator

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return as_upstream_draws(self.inner)(z, labels)


@pytest.mark.slow
@pytest.mark.parametrize("method_name", ["class_swap", "bn_propagation"])
def test_training_starts_from_the_norm_that_was_held(method_name: str, studiogan: Path, tmp_path: Path) -> None:
    """F2: the matched columns stay within spectral norm, so that training's first steps do not shrink the other labels'."""
    before = pretrained(studiogan, tmp_path, "SAGAN")
    gan = build(studiogan, tmp_path, "SAGAN", 3)
    method = method_for(
        method_name, 3, swap={"b": "d"}, label_start={"how": "match", "iterations": 20, "batch_size": 8, "lr": 0.3}
    )
    begin(method, gan, states_of(before))
    norms = [
        [torch.linalg.matrix_norm(layer.weight_orig, 2) for layer in network.modules() if layer_is_conditional(layer)]
        for network in (before.generator, gan.generator)
    ]
    assert len(norms[0]) == len(norms[1]) == 12
    assert all(now < 1.05 * old for old, now in zip(*norms, strict=True))
    labels = torch.tensor([1, 1])
    old, new = (sample_images(network, labels, gan.latents) for network in (before.generator, gan.generator))
    assert (new - old).abs().mean() > 0.1 * old.std()


def layer_is_conditional(layer: torch.nn.Module) -> bool:
    return hasattr(layer, "weight_orig") and getattr(layer, "in_features", None) == 3
