"""The classifier's training: what it learns, what it forgets without replay, and what stays as it was."""

from __future__ import annotations

import pytest
import torch

from rcas_plugin.data.stock import Stock
from rcas_plugin.lifelong.plan import ClassifierKeys, LossKeys
from rcas_plugin.lifelong.training import Lesson, draw_rows_anew, right_by_class, train_first, train_later
from rcas_plugin.methods.feature_replay.classifier import FeatureClassifier

CPU = torch.device("cpu")
KEYS = ClassifierKeys(width=4, depth=1, batch_size=16, first_steps=40, steps=100, first_lr=0.05, lr=0.02, flip=False, shift=1)
NAMES = ("dark", "red", "green", "blue")


def colours(labels: list[int], count: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(images as bytes, labels): noisy squares whose colour is the class."""
    where = torch.tensor(labels).repeat_interleave(count)
    noise = torch.randint(-20, 21, (len(where), 3, 16, 16), generator=torch.Generator().manual_seed(seed))
    bright = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])[where]
    return ((60 + 120 * bright)[:, :, None, None] + noise).byte(), where


def stock(labels: list[int], seed: int = 0) -> Stock:
    return Stock(*colours(labels, seed=seed), classes=4)


def accuracy(classifier: FeatureClassifier, labels: list[int], seen: int) -> float:
    counts = right_by_class(classifier, [colours(labels, seed=9)], NAMES[:seen])
    return sum(counts[NAMES[label]][0] / counts[NAMES[label]][1] for label in labels) / len(labels)


@pytest.fixture(scope="module")
def first() -> FeatureClassifier:
    return train_first(KEYS, Lesson(stock([0, 2]), None, 3), 4, CPU)


def test_the_first_task_is_learned_with_an_output_for_every_class(first: FeatureClassifier) -> None:
    assert first.head.out_features == 4
    assert not first.training
    assert accuracy(first, [0, 2], 3) > 0.9


@pytest.mark.parametrize("distils", [False, True])
def test_old_classes_are_forgotten_without_replay_and_not_with_it(first: FeatureClassifier, distils: bool) -> None:
    before = {name: value.clone() for name, value in first.state_dict().items()}
    new = stock([3], seed=1)
    alone = train_later(KEYS, LossKeys(), Lesson(new, None, 4, 3), first, distils=False)
    lesson = Lesson(new, stock([0, 2], seed=2), 4, 3)
    replayed = train_later(KEYS, LossKeys(), lesson, first, distils=distils)
    assert accuracy(alone, [0, 2], 4) < 0.6
    assert accuracy(replayed, [0, 2], 4) > 0.9
    assert all(torch.equal(value, before[name]) for name, value in first.state_dict().items()), "the one before stays as it is"
    assert not torch.equal(replayed.stem[0].weight, first.stem[0].weight)


def test_both_kinds_of_replay_learn_the_new_class_by_weights_of_their_own(first: FeatureClassifier) -> None:
    lesson = Lesson(stock([3], seed=1), stock([0, 2], seed=2), 4, 3)
    by_labels = train_later(KEYS, LossKeys(), lesson, first, distils=False)
    by_teacher = train_later(KEYS, LossKeys(new=1.0), lesson, first, distils=True)
    assert accuracy(by_labels, [3], 4) > 0.9
    assert accuracy(by_teacher, [3], 4) > 0.9
    unheard = train_later(KEYS, LossKeys(new=0.0), lesson, first, distils=True)
    assert accuracy(unheard, [3], 4) < 0.1, "without cross-entropy nothing teaches it"


def test_features_that_one_class_has_taught_are_not_held(first: FeatureClassifier) -> None:
    """The classifier of one class has learned nothing: its cross-entropy is 0 at any weights."""
    one, two = (Lesson(stock([3], seed=1), stock([0], seed=2), 4, old) for old in (1, 2))
    weights = [
        [train_later(KEYS, LossKeys(features=weight), lesson, first, distils=True).stem[0].weight for weight in (0.0, 5.0)]
        for lesson in (one, two)
    ]
    assert torch.equal(*weights[0])
    assert not torch.equal(*weights[1])


def test_the_same_seed_gives_the_same_classifier(first: FeatureClassifier) -> None:
    again = train_first(KEYS, Lesson(stock([0, 2]), None, 3), 4, CPU)
    other = train_first(KEYS, Lesson(stock([0, 2]), None, 3, seed=1), 4, CPU)
    assert torch.equal(again.head.weight, first.head.weight)
    assert not torch.equal(other.head.weight, first.head.weight)


def test_only_the_rows_of_new_classes_are_drawn_anew() -> None:
    head = torch.nn.Linear(5, 4)
    before = head.weight.detach().clone()
    draw_rows_anew(head, range(2, 4), 3)
    assert torch.equal(head.weight[:2], before[:2])
    assert not torch.equal(head.weight[2:], before[2:])
    assert float(head.weight.detach().abs().max()) <= 5**-0.5


def test_only_classes_so_far_are_named() -> None:
    classifier = FeatureClassifier(3, 4, width=2, depth=1).eval()
    with torch.no_grad():
        classifier.head.weight.zero_()
        classifier.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 9.0]))
    assert right_by_class(classifier, [colours([0, 1], count=3)], NAMES[:2]) == {"dark": (0, 3), "red": (3, 3)}


@pytest.mark.device
@pytest.mark.parametrize("distils", [False, True])
def test_on_another_device(device: torch.device, distils: bool) -> None:
    keys = KEYS.model_copy(update={"first_steps": 2, "steps": 2})
    before = train_first(keys, Lesson(stock([0, 2]), None, 3), 4, device)
    after = train_later(keys, LossKeys(), Lesson(stock([3]), stock([0, 2]), 4, 3), before, distils=distils)
    assert after.head.weight.device.type == device.type
    assert sum(total for _, total in right_by_class(after, [colours([0, 3])], NAMES).values()) == 24
