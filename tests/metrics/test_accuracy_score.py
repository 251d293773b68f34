"""The classification accuracy score against steps and counts by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin.metrics.accuracy_score import Training, make_classifier, score_classifier, train_classifier


class Flat(nn.Linear):
    """Logits of three labels from four pixels."""

    def __init__(self) -> None:
        super().__init__(4, 3, bias=False, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flatten(1))


def batches_of(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(0)
    return [
        (torch.randn(n, 1, 2, 2, generator=source, dtype=torch.float64), torch.randint(3, (n,), generator=source)) for n in sizes
    ]


def test_each_step_takes_the_gradient_of_its_own_batch() -> None:
    """Upstream zeroes gradients once an epoch, so that each batch steps along all before it."""
    model, data = Flat(), batches_of(4, 3, 1)
    weight = model.weight.detach().clone()
    momentum = torch.zeros_like(weight)
    training = Training(epochs=2, lr=0.3, momentum=0.5, weight_decay=0.1)
    done: list[int] = []
    train_classifier(model, lambda: iter(data), training, after_epoch=done.append, progress=False)
    for epoch in range(2):
        rate = 0.3 * 0.5 * (1 + math.cos(math.pi * epoch / 2))
        for images, labels in data[:2]:  # the third holds one image, which batch norm cannot take
            x = images.flatten(1)
            error = (x @ weight.T).softmax(1) - torch.eye(3, dtype=torch.float64)[labels]
            gradient = error.T @ x / len(x) + 0.1 * weight
            momentum = 0.5 * momentum + gradient if momentum.any() else gradient
            weight = weight - rate * (gradient + 0.5 * momentum)
    torch.testing.assert_close(model.weight.detach(), weight, rtol=1e-6, atol=1e-8)
    assert done == [1, 2]
    assert not model.training


def test_a_training_that_goes_on_makes_the_epochs_that_are_left() -> None:
    data, asked = batches_of(4), []

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        asked.append(1)
        return iter(data)

    train_classifier(Flat(), batches, Training(epochs=5), start=3, progress=False)
    assert len(asked) == 2


def test_the_score_counts_every_image_once() -> None:
    model = Flat()
    with torch.no_grad():
        model.weight.copy_(torch.eye(3, 4))
    pixels = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 1, 2])
    images = pixels.view(5, 1, 2, 2)
    score = score_classifier(model, lambda: [(images[:3], labels[:3]), (images[3:], labels[3:])])
    assert score.top1 == pytest.approx(60)
    assert score.top5 == 100, "of three labels"
    assert score.labels == pytest.approx({0: 100, 1: 200 / 3, 2: 0})
    assert score.images == 5
    assert score.as_json()["labels"]["2"] == 0


def test_the_first_five_of_many_labels() -> None:
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1]])
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 6, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(6))  # type: ignore[union-attr]
    score = score_classifier(model, lambda: [(logits.view(2, 1, 2, 3), torch.tensor([4, 5]))])
    assert (score.top1, score.top5) == (0, 50)


@pytest.mark.parametrize(("size", "stride"), [(32, (1, 1)), (128, (2, 2))])
def test_the_classifier_is_a_resnet_18_of_its_labels(size: int, stride: tuple[int, int]) -> None:
    model = make_classifier(3, size).eval()
    assert model.conv1.stride == stride
    with torch.no_grad():
        assert model(torch.zeros(1, 3, size, size)).shape == (1, 3)
