"""The training of the classifier on its first task, and on each later one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from rcas_plugin.data.stock import Stock, as_floats
from rcas_plugin.gan import device_of, seeded
from rcas_plugin.lifelong.augment import shift_and_flip
from rcas_plugin.lifelong.losses import distillation, feature_distance, new_classes
from rcas_plugin.lifelong.plan import ClassifierKeys, LossKeys
from rcas_plugin.methods.feature_replay.classifier import FeatureClassifier

#: Parts of the steps after which the learning rate is multiplied by `DECAY`.
MILESTONES, DECAY = (0.3, 0.6, 0.8), 0.2


@dataclass(frozen=True)
class Lesson:
    """What a classifier learns at one task.

    Attributes:
        new: the task's own images.
        past: images of earlier tasks' classes, real or generated; None where it sees none.
        seen: how many classes there are so far; they come first among all classes.
        old: how many of them are of earlier tasks.
        seed: of everything that is drawn.
        name: of the progress bar.
    """

    new: Stock
    past: Stock | None
    seen: int
    old: int = 0
    seed: int = 0
    name: str = "classifier"


def train_first(keys: ClassifierKeys, lesson: Lesson, classes: int, device: torch.device) -> FeatureClassifier:
    """A classifier of `classes` classes, newly drawn and trained on the first task; in evaluation mode.

    Its head has an output for every class from the start; those of classes to come are not used, and drawn anew in their time.
    """
    with seeded(lesson.seed, device):
        classifier = FeatureClassifier(lesson.new.images.shape[1], classes, width=keys.width, depth=keys.depth).to(device)
    steps = keys.first_steps or keys.first_epochs * _batches(lesson.new, keys.batch_size)
    optimizer = torch.optim.SGD(
        classifier.parameters(), keys.first_lr, momentum=0.9, nesterov=True, weight_decay=keys.weight_decay
    )
    return _fit(classifier, optimizer, steps, _by_labels(classifier, keys, lesson), lesson)


def train_later(
    keys: ClassifierKeys, losses: LossKeys, lesson: Lesson, before: FeatureClassifier, *, distils: bool
) -> FeatureClassifier:
    """The classifier after one more task, in evaluation mode; `before` stays as it is.

    Features and head go on from where they were, the new classes' rows of the head are drawn anew. Every strategy has as many
    steps.

    Args:
        keys: of the classifier.
        losses: weights, where it distils.
        lesson: what it learns.
        before: the classifier after the task before.
        distils: learn old classes from `before`, and not by the labels of their images.
    """
    classifier = copy.deepcopy(before).train()
    draw_rows_anew(classifier.head, range(lesson.old, lesson.seen), lesson.seed)
    steps = keys.steps or keys.epochs * _batches(lesson.new, keys.batch_size // 2)
    optimizer = torch.optim.RAdam(classifier.parameters(), keys.lr, weight_decay=keys.weight_decay)
    loss = _by_teacher(classifier, before, keys, losses, lesson) if distils else _by_labels(classifier, keys, lesson)
    return _fit(classifier, optimizer, steps, loss, lesson)


@torch.no_grad()
def draw_rows_anew(head: nn.Linear, rows: Sequence[int], seed: int) -> None:
    """Draw some rows of a linear layer, and their biases, as torch draws those of a new one."""
    with seeded(seed, torch.device("cpu")):
        fresh = nn.Linear(head.in_features, head.out_features)
    for part, new in ((head.weight, fresh.weight), (head.bias, fresh.bias)):
        part[list(rows)] = new[list(rows)].to(part.device)


def _batches(stock: Stock, size: int) -> int:
    return -(-len(stock.images) // size)


def _fit(
    classifier: FeatureClassifier,
    optimizer: torch.optim.Optimizer,
    steps: int,
    losses: Iterator[Tensor],
    lesson: Lesson,
) -> FeatureClassifier:
    """Take a step for each loss; the classifier, in evaluation mode."""
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(part * steps) for part in MILESTONES], DECAY)
    classifier.train()
    for _ in tqdm(range(steps), desc=lesson.name, unit="step", delay=2, leave=False, disable=None):
        loss = next(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return classifier.eval()


def _by_labels(classifier: FeatureClassifier, keys: ClassifierKeys, lesson: Lesson) -> Iterator[Tensor]:
    """The cross-entropy of batch after batch in which every class is drawn alike, over all classes so far."""
    draw = _drawing(keys, lesson.seed, device_of(classifier))
    stocks = [stock for stock in (lesson.past, lesson.new) if stock is not None]
    while True:
        images, labels = draw(stocks, keys.batch_size)
        yield new_classes(classifier(images)[:, : lesson.seen], labels)


def _by_teacher(
    classifier: FeatureClassifier, teacher: FeatureClassifier, keys: ClassifierKeys, losses: LossKeys, lesson: Lesson
) -> Iterator[Tensor]:
    """Genifer's loss of batch after batch: one half generated images of old classes, the other half new images.

    The teacher is in evaluation mode, so that it is one function of an image. In the published code it is in training mode, and
    its batch norms take the statistics of the mixed batch, in which half of the images are of classes that it never saw.
    """
    assert lesson.past is not None, "it replays"
    teacher.eval()
    of_features = losses.features if lesson.old > 1 else 0.0  # one class taught the teacher no features
    draw = _drawing(keys, lesson.seed, device_of(classifier))
    half = keys.batch_size // 2
    while True:
        (replayed, _), (new, labels) = draw([lesson.past], half), draw([lesson.new], keys.batch_size - half)
        hidden = classifier.hidden(torch.cat([replayed, new]))
        logits = classifier.after_hidden(hidden)[:, : lesson.seen]
        with torch.no_grad():
            hidden_before = teacher.hidden(replayed)
            before = teacher.after_hidden(hidden_before)[:, : lesson.old]
        yield (
            losses.new * new_classes(logits[half:], labels)
            + losses.distillation * distillation(logits[:half], before, losses.temperature)
            + of_features * feature_distance(hidden[:half], hidden_before)
        )


#: (stocks without a common class, count) -> images in [-1, 1], and labels, both on the classifier's device.
Draw = Callable[[Sequence[Stock], int], tuple[Tensor, Tensor]]


def _drawing(keys: ClassifierKeys, seed: int, device: torch.device) -> Draw:
    source = torch.Generator().manual_seed(seed)

    def draw(stocks: Sequence[Stock], count: int) -> tuple[Tensor, Tensor]:
        present = [stock.counts.nonzero().flatten() for stock in stocks]
        classes = torch.cat(present)
        labels = classes[torch.randint(len(classes), (count,), generator=source)]
        images = torch.empty(count, *stocks[0].images.shape[1:])
        for stock, its in zip(stocks, present, strict=True):
            where = torch.isin(labels, its)
            images[where] = stock.draw(labels[where], source)
        return shift_and_flip(images, source, shift=keys.shift, flip=keys.flip).to(device), labels.to(device)

    return draw


@torch.no_grad()
def right_by_class(
    classifier: FeatureClassifier, tests: Sequence[tuple[Tensor, Tensor]], classes: Sequence[str], batch_size: int = 256
) -> Mapping[str, tuple[int, int]]:
    """Class -> how many of its test images the classifier names rightly among `classes`, and how many there are.

    Args:
        classifier: in evaluation mode.
        tests: (images as bytes, labels), of the tasks so far.
        classes: the classes so far, which come first among its outputs.
        batch_size: images that are looked at together.
    """
    device, counts = device_of(classifier), dict.fromkeys(classes, (0, 0))
    for images, labels in tests:
        named = torch.cat([
            classifier(as_floats(part).to(device))[:, : len(classes)].argmax(1).cpu() for part in images.split(batch_size)
        ])  # fmt: skip
        for label in labels.unique().tolist():
            of_class = labels == label
            counts[classes[label]] = (int((named[of_class] == label).sum()), int(of_class.sum()))
    return counts
