"""What a batch is drawn from, and what a training learns of it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rcas_plugin.data.stock import Stock, as_floats
from rcas_plugin.utility.augment import augment
from rcas_plugin.utility.training import Mixture, balanced_loss, features_of, logits_of, train_detector

from .conftest import CORNERS, squares


def plain(value: int, label: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((count, 1, 8, 8), value, dtype=torch.uint8), torch.full((count,), label)


def stock(*parts: tuple[torch.Tensor, torch.Tensor], classes: int = 2) -> Stock:
    return Stock(torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts]), classes)


def test_a_class_of_few_images_is_drawn_as_often() -> None:
    images, labels = Mixture(stock(plain(10, 1, 3), plain(0, 0, 97))).draw(4000, torch.Generator().manual_seed(0))
    assert labels.double().mean() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(images[:, 0, 0, 0], as_floats(torch.tensor([0, 10], dtype=torch.uint8))[labels])


@pytest.mark.parametrize(("everywhere", "of_remaining"), [(True, 2 / 3), (False, 0.0)])
def test_the_amount_is_generated_images_a_real_one(everywhere: bool, of_remaining: float) -> None:
    real, fake = stock(plain(0, 0, 5), plain(0, 1, 2)), stock(plain(255, 0, 9), plain(255, 1, 9))
    mixture = Mixture(real, fake, 2.0, everywhere, new=1)
    images, labels = mixture.draw(6000, torch.Generator().manual_seed(0))
    generated = images[:, 0, 0, 0] > 0
    assert generated[labels == 1].double().mean() == pytest.approx(2 / 3, abs=0.03)
    assert generated[labels == 0].double().mean() == pytest.approx(of_remaining, abs=0.03)


def test_the_first_of_each_class() -> None:
    whole = stock((torch.arange(6, dtype=torch.uint8)[:, None, None, None], torch.tensor([1, 0, 1, 0, 1, 0])))
    assert whole.of(1).flatten().tolist() == [0, 2, 4]
    some = whole.first(2)
    assert some.of(0).flatten().tolist() == [1, 3]
    assert some.counts.tolist() == [2, 2]


def test_each_image_is_augmented_by_itself_and_stays_in_range() -> None:
    image = as_floats(squares("new", 1, 0)).expand(16, -1, -1, -1)
    one, again = (augment(image, torch.Generator().manual_seed(0), flip=True) for _ in range(2))
    assert torch.equal(one, again)
    assert one.shape == image.shape
    assert one.abs().max() <= 1
    assert len({tuple(changed.flatten().tolist()) for changed in one}) == 16
    # mirrored images have the square on the right
    right = one[..., 8:].mean((1, 2, 3)) > one[..., :8].mean((1, 2, 3))
    assert 3 < int(right.sum()) < 13
    upright = augment(image, torch.Generator().manual_seed(0), flip=False)
    assert not (upright[..., 8:].mean((1, 2, 3)) > upright[..., :8].mean((1, 2, 3))).any()


def test_it_learns_and_repeats_itself() -> None:
    def of(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.cat([squares(name, 60, seed + index) for index, name in enumerate(CORNERS)])
        return images, torch.arange(3).repeat_interleave(60)

    state = torch.random.get_rng_state()
    models = [train_detector(Mixture(Stock(*of(0), 3)), steps=25, batch_size=32, device=torch.device("cpu")) for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's draws go on as before"
    images, labels = of(100)
    logits = [logits_of(model, images) for model in models]
    assert torch.equal(*logits)
    assert (logits[0].argmax(1) == labels).double().mean() > 0.9
    assert features_of(models[0], images).shape == (180, 48)


def test_the_loss_weighs_the_new_class_as_all_others_together() -> None:
    logits = torch.tensor([[2.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3]])
    labels = torch.tensor([0, 0, 1, 2])
    a, b, c = (float(F.cross_entropy(logits[index : index + 1], labels[index : index + 1])) for index in (0, 2, 3))
    assert balanced_loss(logits, labels, 2) == pytest.approx((c + (a + b) / 2) / 2)
