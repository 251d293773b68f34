"""The second judge is another network than the first, and has its interface."""

from __future__ import annotations

import pytest
import torch

from rcas_plugin.metrics.classifier import predict
from rcas_plugin.metrics.second import SecondClassifier, train_second_classifier


def stripes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Upright, level and slanted stripes, at any phase, with noise: what is there is told by the image and not by a place."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    along = torch.stack([x, y, x + y])[labels]
    phase = 6.3 * torch.rand(count, 1, 1, generator=source)
    return (torch.sin(1.5 * along + phase) + 0.2 * torch.randn(count, 16, 16, generator=source))[:, None], labels


def test_learns_three_textures_and_its_head_reads_its_features() -> None:
    model = train_second_classifier(*stripes(240, 0), 3, epochs=4, batch_size=32, shift=1, progress=False)
    images, labels = stripes(60, 1)
    assert (predict(model, images) == labels).float().mean() > 0.95
    assert not model.training
    features = model.features(images)
    assert features.shape == (60, model.head.in_features)
    torch.testing.assert_close(model.head(features), model(images))


@pytest.mark.parametrize("size", [16, 28, 33, 64])
def test_takes_any_size(size: int) -> None:
    assert SecondClassifier(1, 4, width=4).eval()(torch.zeros(2, 1, size, size)).shape == (2, 4)


def test_is_trained_alike_twice_and_leaves_the_random_state() -> None:
    images, labels = stripes(24, 0)
    state = torch.get_rng_state()
    first, second = (train_second_classifier(images, labels, 3, epochs=1, batch_size=8, progress=False) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(first.state_dict(), second.state_dict(), rtol=0, atol=0)
