"""The judge learns what it is shown and says so."""

from __future__ import annotations

import torch

from rcas_plugin.metrics.classifier import Classifier, predict, recognised, train_classifier


def blobs(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Bright squares in one of three corners, with noise."""
    source = torch.Generator().manual_seed(seed)
    images, labels = torch.randn(count, 1, 16, 16, generator=source) * 0.3 - 1, torch.arange(count) % 3
    for image, label in zip(images, labels.tolist(), strict=True):
        y, x = [(2, 2), (2, 9), (9, 2)][label]
        image[0, y : y + 5, x : x + 5] = 1
    return images, labels


def test_learns_three_classes() -> None:
    model = train_classifier(*blobs(240, 0), 3, epochs=6, batch_size=32, shift=1, progress=False)
    images, labels = blobs(60, 1)
    assert (predict(model, images) == labels).float().mean() > 0.95
    assert model.features(images).shape == (60, 128)


def test_recognised_counts_by_label() -> None:
    class Says(Classifier):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), 3).float()

    images = torch.tensor([0, 1, 1, 2, 2, 0]).float().view(6, 1, 1, 1)
    labels = torch.tensor([0, 0, 1, 1, 5, 5])
    assert recognised(Says(1, 3), images, labels, [0, 1, 2, 0, 0, 2]) == {0: 0.5, 1: 0.5, 5: 0.5}
