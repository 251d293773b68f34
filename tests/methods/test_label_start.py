"""The slot's start: the mean of the others, and matched to the new class's images."""

from __future__ import annotations

import copy
from typing import Any

import torch

from rcas_plugin.gan import Gan, gaussian_latents, generate
from rcas_plugin.methods.label_start import match_features, start_at_mean
from rcas_plugin.weights.label_bound import find_label_bound


def test_the_mean_of_the_remaining_labels_in_every_network(pair: Any) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    gain = gan.generator.get_parameter("blocks.1.0.bn2.gain.weight").double().clone()
    row = gan.discriminator.get_parameter("embedding.weight_orig").double().clone()
    gan.discriminator.eval()
    used = gan.discriminator.embedding(torch.arange(4))
    start_at_mean(gan, 4, [3], [0, 2])
    for network in (gan.generator, gan.ema):
        assert network is not None
        edited = network.get_parameter("blocks.1.0.bn2.gain.weight").double()
        torch.testing.assert_close(edited[:, 3], gain[:, [0, 2]].mean(1), rtol=1e-6, atol=1e-7)
        assert torch.equal(edited[:, :3], gain[:, :3])
    edited = gan.discriminator.get_parameter("embedding.weight_orig").double()
    torch.testing.assert_close(edited[3], row[[0, 2]].mean(0), rtol=1e-6, atol=1e-7)
    rows = gan.discriminator.embedding(torch.arange(4))
    assert torch.equal(rows[:3], used[:3]), "what spectral norm divides the other labels' rows by is held"
    assert not torch.equal(rows[3], used[3])


def test_matching_moves_the_slots_columns_alone_and_towards_the_images(pair: Any) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    names = {bound.name for bound in find_label_bound(gan, 4) if bound.role == "generator"}
    before = {role: copy.deepcopy(network.state_dict()) for role, network in (("g", gan.generator), ("d", gan.discriminator))}
    real = torch.randn(9, 3, 32, 32).mul(0.1).add(0.5).clamp(-1, 1)
    modes = [module.training for module in gan.generator.modules()]
    losses = match_features(gan, 4, 2, real, iterations=12, batch_size=8, lr=0.1, seed=1)
    assert len(losses) == 12
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(value, before["d"][name]) for name, value in gan.discriminator.state_dict().items())
    for name, value in gan.generator.state_dict().items():
        if name in names:
            assert torch.equal(value[:, [0, 1, 3]], before["g"][name][:, [0, 1, 3]])
            assert not torch.equal(value[:, 2], before["g"][name][:, 2])
        else:
            assert torch.equal(value, before["g"][name])
    assert gan.ema is not None
    assert all(torch.equal(value, gan.generator.state_dict()[name]) for name, value in gan.ema.state_dict().items())
    assert modes == [module.training for module in gan.generator.modules()]
    assert all(parameter.requires_grad and parameter.grad is None for network in pair for parameter in network.parameters())
    assert all(not module._forward_hooks for network in pair for module in network.modules())


def test_a_shared_embedding_is_matched_as_well(odd_pair: Any) -> None:
    """Here the label's row feeds layers under spectral norm; the other labels' images stay as they were, exactly."""
    gan = Gan(*odd_pair, None, gaussian_latents(5))
    gan.generator.eval()
    z, labels = torch.randn(3, 5), torch.arange(3)
    before = generate(gan.generator, z, labels)
    losses = match_features(gan, 3, 1, torch.full((4, 3, 7, 7), 0.3) + 0.1 * torch.randn(4, 3, 7, 7), iterations=10, batch_size=8)
    after = generate(gan.generator, z, labels)
    assert losses[-1] < losses[0]
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.equal(after[1], before[1])


def test_the_first_loss_is_the_formula(pair: Any) -> None:
    """Relative squared errors of the mean maps and of the spread of spatial means, by hand in float64."""
    gan = Gan(*pair, None, gaussian_latents(6))
    by_hand = [copy.deepcopy(network).double().eval() for network in pair]
    real = torch.randn(5, 3, 32, 32).clamp(-1, 1)
    (first,) = match_features(gan, 4, 0, real, iterations=1, batch_size=3, seed=3)
    outputs: list[torch.Tensor] = []
    for module in by_hand[1].modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, args, output: outputs.append(output.clone()))
    sets = []
    z = gaussian_latents(6)(3, torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        fakes = by_hand[0](z, torch.zeros(3, dtype=torch.long))
    for images in (fakes, real.double()):
        outputs.clear()
        with torch.no_grad():
            h = by_hand[1](images, torch.zeros(len(images), dtype=torch.long))["h"]
        sets.append([*outputs, h[:, :, None]])
    expected = 0.0
    for fake, true in zip(*sets, strict=True):
        for measure in (lambda x: x.mean(0), lambda x: x.flatten(2).mean(2).std(0)):
            expected += float((measure(fake) - measure(true)).square().mean() / measure(true).square().mean())
    assert abs(first - expected) < 1e-4 * expected


def test_a_generator_without_columns_of_its_own_is_left_alone(odd_pair: Any) -> None:
    class Blind(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(5, 3 * 7 * 7)

        def forward(self, z: torch.Tensor, label: torch.Tensor, eval: bool = False) -> torch.Tensor:
            images: torch.Tensor = self.layer(z).view(-1, 3, 7, 7)
            return images

    assert match_features(Gan(Blind(), odd_pair[1], None, gaussian_latents(5)), 3, 1, torch.zeros(2, 3, 7, 7)) == []


def test_a_single_image_has_a_mean_and_no_spread(pair: Any) -> None:
    losses = match_features(Gan(*pair, None, gaussian_latents(6)), 4, 0, torch.rand(1, 3, 32, 32), iterations=2, batch_size=4)
    assert all(0 < loss < 1e4 for loss in losses)
