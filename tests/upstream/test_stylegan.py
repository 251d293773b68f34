"""What is StyleGAN's own: minibatch statistics, noise, penalties at each nth step; and D's outputs on a single image."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import match_features, synapse_importance
from rcas_plugin.gan import Gan, discriminate, frozen_eval, generate, part_sizes, sample_images
from rcas_plugin.labels import DataClasses, resolve_labels
from rcas_plugin.methods.pretrained import Pretrained
from rcas_plugin.methods.retain import RetainLoss
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.networks import load_gan
from rcas_plugin.weights.label_bound import find_label_bound
from rcas_plugin.weights.synapses import find_synapses

from .conftest import write_config
from .test_backbones import STYLE


def stylegan(studiogan: Path, folder: Path, *, backbone: str = "stylegan2", group: int = 4, noise: float = 0.5) -> Gan:
    """A new, narrow StyleGAN of three labels that draws noise as it does in training."""
    torch.manual_seed(0)
    extra = {"stylegan3_cfg": "stylegan3-t"} if backbone == "stylegan3" else {}
    sections = {
        "MODEL": {**STYLE["MODEL"], "backbone": backbone},
        "STYLEGAN": {**STYLE["STYLEGAN"], "d_epilogue_mbstd_group_size": group, **extra},
    }
    gan = load_gan(studiogan, write_config(folder / f"{backbone}-{group}.yaml", **sections), None)
    for name, parameter in gan.generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, noise)
    return gan


def by_parts(gan: Gan, images: torch.Tensor, labels: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """D's logits of these parts, by plain calls."""
    with torch.no_grad(), frozen_eval(gan.discriminator):
        parts = zip(images.split(sizes), labels.split(sizes), strict=True)
        return torch.cat([gan.discriminator(part, own)["adv_output"].reshape(-1) for part, own in parts])


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize(("group", "count", "sizes"), [
    (4, 38, [36, 2]), (8, 33, [32, 1]), (8, 7, [7]), (3, 8, [6, 2]), (16, 40, [32, 8]), (1, 5, [5]),
])  # fmt: skip
def test_any_number_of_images_goes_through_minibatch_statistics(
    group: int, count: int, sizes: list[int], studiogan: Path, tmp_path: Path
) -> None:
    """F7: any number of images goes through StyleGAN's D, in whole groups and a smaller rest, and has the logits of these."""
    gan = stylegan(studiogan, tmp_path, group=group)
    assert part_sizes(gan.discriminator, count) == sizes
    assert part_sizes(gan.generator, count) == [count]
    images, labels = torch.rand(count, 3, 32, 32) - 0.5, torch.arange(count) % 3
    with torch.no_grad(), frozen_eval(gan.discriminator):
        found = discriminate(gan.discriminator, images, labels)
    assert found["adv_output"].shape == (count, 1)
    assert found["h"].shape[0] == count
    torch.testing.assert_close(found["adv_output"].reshape(-1), by_parts(gan, images, labels, sizes), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("backbone", ["stylegan2", "stylegan3"])
@pytest.mark.parametrize("group", [3, 4, 8])
def test_a_swaps_preparation_takes_any_number_of_images(backbone: str, group: int, studiogan: Path, tmp_path: Path) -> None:
    """F7: matching, importance and the search for label-bound weights work with minibatch groups of any size."""
    gan = stylegan(studiogan, tmp_path, backbone=backbone, group=group)
    assert [bound.role for bound in find_label_bound(gan, 3)] == ["generator", "discriminator"]
    before = sample_images(gan.generator, torch.tensor([0, 1, 2]), gan.latents)
    losses = match_features(gan, 3, 1, torch.rand(13, 3, 32, 32) - 0.5, iterations=2, batch_size=10)
    assert all(0 < loss < 1e6 for loss in losses)
    after = sample_images(gan.generator, torch.tensor([0, 1, 2]), gan.latents)
    assert not torch.equal(after[1], before[1])
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]], rtol=0, atol=1e-5)
    found = synapse_importance(gan.generator, gan.discriminator, labels=[1], num_samples=10, estimator="batch", progress=False)
    assert any(value.max() > 0 for value in found.discriminator.values())


@pytest.mark.usefixtures("narrow_stylegan")
def test_the_first_loss_of_a_matching_sums_over_the_parts(studiogan: Path, tmp_path: Path) -> None:
    """F7: the first loss of a matching is the formula over all images of the parts [4, 3] and [4, 1], by hand.

    The networks compute in float32, as StyleGAN's filters do in no other type; the formula is float64's.
    """
    gan = stylegan(studiogan, tmp_path, noise=0.0)
    real = 0.2 * torch.randn(7, 3, 32, 32) + torch.linspace(-0.5, 0.5, 7).view(7, 1, 1, 1)  # they differ in brightness
    by_hand = [copy.deepcopy(network).eval() for network in (gan.generator, gan.discriminator)]
    (first,) = match_features(gan, 3, 1, real, iterations=1, batch_size=5, seed=2)
    outputs: list[torch.Tensor] = []
    for synapse in find_synapses(by_hand[1], frozenset({"conv"})).values():
        synapse.module.register_forward_hook(lambda module, args, output: outputs.append(output.clone()))
    sets = []
    with torch.no_grad():
        fakes = generate(by_hand[0], gan.latents(5, torch.Generator().manual_seed(2)), torch.full((5,), 1))
        for images in (fakes, real):
            parts = []
            for part in images.split(4):
                outputs.clear()
                h = by_hand[1](part, torch.ones(len(part), dtype=torch.long))["h"]
                parts.append([*outputs, h[:, :, None]])
            sets.append([torch.cat(layer).double() for layer in zip(*parts, strict=True)])
    expected = 0.0
    for fake, true in zip(*sets, strict=True):
        for measure in (lambda x: x.mean(0), lambda x: x.flatten(2).mean(2).std(0)):
            expected += float((measure(fake) - measure(true)).square().mean() / measure(true).square().mean())
    assert first == pytest.approx(expected, rel=1e-3)


@pytest.mark.usefixtures("narrow_stylegan")
def test_the_same_weights_make_the_same_images(studiogan: Path, tmp_path: Path) -> None:
    """F9: images of the same latents and weights are equal to the bit on StyleGAN2, noise and all.

    Training goes on drawing as if nothing had been drawn.
    """
    gan = stylegan(studiogan, tmp_path)
    labels = torch.arange(6) % 3
    z = torch.randn(2, 8)
    with torch.no_grad():
        assert not torch.equal(generate(gan.generator, z, labels[:2]), generate(gan.generator, z, labels[:2])), "noise is drawn"
    state = torch.get_rng_state()
    first, again = (sample_images(gan.generator, labels, gan.latents) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, sample_images(gan.generator, labels, gan.latents, seed=1))
    assert torch.equal(torch.get_rng_state(), state)
    once, twice = (
        synapse_importance(gan.generator, gan.discriminator, labels=[1], num_samples=3, progress=False).generator
        for _ in range(2)
    )
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("backbone", ["stylegan2", "stylegan3"])
def test_retain_is_nothing_for_an_unchanged_generator(backbone: str, studiogan: Path, tmp_path: Path) -> None:
    """F9: the retain loss of an unchanged StyleGAN is 0, its noise varies from step to step, and training draws on as before."""
    gan = stylegan(studiogan, tmp_path, backbone=backbone)
    settings = parse_settings({"swap": {"b": "d"}})
    plan = resolve_labels(settings, 3, DataClasses(tuple("abcd"), (4,) * 4), "abc")
    loss = RetainLoss(Pretrained(gan), plan, weight=10.0)
    gan.generator.train()
    state = torch.get_rng_state()
    labels = torch.tensor([0, 2, 2, 0])
    drawn: list[torch.Tensor] = []
    if backbone == "stylegan2":
        layer = gan.generator.synthesis.b32.conv1
        layer.register_forward_hook(lambda module, args, output: drawn.append(output.detach()))

    def value() -> float:
        term = loss(gan, labels)
        assert term is not None
        return float(term.detach())

    assert value() < 1e-4, "rounding alone: upstream multiplies in another order in training mode"
    assert value() < 1e-4
    assert torch.equal(torch.get_rng_state(), state)
    own_fakes = loss(gan, labels, torch.zeros(4, 8), torch.zeros(4, 3, 32, 32))
    assert own_fakes is not None
    assert float(own_fakes.detach()) < 1e-4, "latents do not determine the step's fakes, so other images are compared"
    if backbone == "stylegan2":
        assert not torch.equal(drawn[0], drawn[1]), "another noise at the next step"
    with torch.no_grad():
        for parameter in gan.generator.synthesis.parameters():
            parameter.mul_(1.5)
    assert value() > 1e-3, "a changed generator has a loss"


SINGLE: dict[str, dict[str, Any]] = {
    "MH": {"MODEL": {"d_cond_mtd": "MH"}, "LOSS": {"adv_loss": "MH"}},
    "MD": {"MODEL": {"d_cond_mtd": "MD"}},
    "PD": {"MODEL": {"d_cond_mtd": "PD"}},
    "AC": {"MODEL": {"d_cond_mtd": "AC"}},
    "2C": {"MODEL": {"d_cond_mtd": "2C", "d_embed_dim": 4, "normalize_d_embed": True}},
    "D2DCE": {"MODEL": {"d_cond_mtd": "D2DCE", "d_embed_dim": 4, "normalize_d_embed": True}},
    "TAC": {"MODEL": {"d_cond_mtd": "AC", "aux_cls_type": "TAC"}},
    "ADC": {"MODEL": {"d_cond_mtd": "2C", "aux_cls_type": "ADC", "d_embed_dim": 4, "normalize_d_embed": True}},
}


@pytest.mark.usefixtures("narrow_stylegan")
@pytest.mark.parametrize("backbone", ["resnet", pytest.param("deep_conv", marks=pytest.mark.slow), "stylegan2"])
@pytest.mark.parametrize("conditioning", SINGLE)
def test_a_single_image_has_the_outputs_of_one_among_others(
    conditioning: str, backbone: str, studiogan: Path, tmp_path: Path
) -> None:
    """F10: D's outputs for one image have one row each, equal to that image's row of a batch, for every conditioning."""
    sections = copy.deepcopy(SINGLE[conditioning])
    if backbone == "stylegan2":
        if conditioning == "PD":
            pytest.skip("upstream has SPD in its place")
        sections["MODEL"] = {**STYLE["MODEL"], "backbone": backbone, **sections["MODEL"]}
        cond_type = {"cond_type": [conditioning, sections["MODEL"]["d_cond_mtd"]]}
        sections["STYLEGAN"] = {**STYLE["STYLEGAN"], "d_epilogue_mbstd_group_size": 1, **cond_type}
    elif backbone == "deep_conv":
        sections["MODEL"].update(backbone=backbone, g_conv_dim="N/A", d_conv_dim="N/A")
    torch.manual_seed(0)
    gan = load_gan(studiogan, write_config(tmp_path / "config.yaml", **sections), None)
    images, labels = torch.rand(3, 3, 32, 32) - 0.5, torch.tensor([2, 0, 1])
    with torch.no_grad(), frozen_eval(gan.discriminator):
        batch = discriminate(gan.discriminator, images, labels)
        single = discriminate(gan.discriminator, images[1:2], labels[1:2])
    assert batch.keys() == single.keys()
    for key, value in batch.items():
        if isinstance(value, torch.Tensor):
            assert single[key].shape == (1, *value.shape[1:]), key
            torch.testing.assert_close(single[key], value[1:2], rtol=1e-4, atol=1e-5)
        else:
            assert single[key] is value
    found = synapse_importance(gan.generator, gan.discriminator, labels=[1], num_samples=3, memory_mb=1, progress=False)
    assert any(value.max() > 0 for value in found.generator.values())


def test_the_stylegan_layers_are_known_by_their_type(upstream: Callable[[str], Any]) -> None:
    """F7: the layer with minibatch statistics is found by its type, wherever it stands and whatever it is called."""
    layer = upstream("models.stylegan2").MinibatchStdLayer(group_size=4)
    assert part_sizes(torch.nn.Sequential(torch.nn.Identity(), layer), 10) == [8, 2]
    assert part_sizes(torch.nn.Sequential(layer, upstream("models.stylegan2").MinibatchStdLayer(group_size=6)), 10) == [4, 4, 2]
    assert part_sizes(upstream("models.stylegan2").MinibatchStdLayer(group_size=None), 10) == [10]
