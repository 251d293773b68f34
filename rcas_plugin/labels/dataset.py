"""The data set of a swap: another data set's images under the swap's labels."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from rcas_plugin.data.images import load_image
from rcas_plugin.labels.plan import LabelPlan


def repeat_factors(counts: Mapping[int, int], new: Collection[int], share: float = 0.0) -> dict[int, int]:
    """Label -> the times that each image is shown in an epoch, so that new classes are drawn as often as their labels' fakes.

    Where D hardly sees a real image under a label whose fakes it sees, it learns that the label is fake.

    Args:
        counts: label -> images.
        new: the labels of the new classes; the others' images are shown once.
        share: of all images shown that the new classes have together, at least; each is shown as often as the others on average
            where that is more.

    Returns:
        Label -> times, 1 or more: the mean number of images of the other labels, over the label's own, rounded.
    """
    others = [count for label, count in counts.items() if label not in new] or list(counts.values())
    each = sum(others) / len(others)
    if len(others) < len(counts):
        each = max(each, share / (1 - share) * sum(others) / (len(counts) - len(others)))
    return {label: max(1, round(each / count)) if label in new else 1 for label, count in counts.items()}


class SwapDataset(Dataset[tuple[torch.Tensor, int]]):
    """A data set with old-class images left out and new-class images under the slot's label.

    Args:
        base: yields (image tensor, class index); only its items of live classes are ever asked for.
        targets: the class index of every item of `base`, read without opening an image.
        plan: which class stands behind which label.
        transform: PIL image -> tensor, for the image files of `plan.new_files`.
        balance: show the images of new classes as often as `repeat_factors` says.
        share: of what is shown, for the new classes together, at least.

    Attributes:
        labels: the label of every item; upstream's samplers read it.
        own: the number of items before any is repeated.
    """

    def __init__(
        self,
        base: Dataset[Any],
        targets: Sequence[int],
        plan: LabelPlan,
        transform: Callable[[Any], torch.Tensor] | None = None,
        *,
        balance: bool = False,
        share: float = 0.0,
    ) -> None:
        to_label = plan.class_to_label
        self.base = base
        self.transform = transform
        self.items: list[int | str] = []
        self.labels: list[int] = []
        for index, target in enumerate(targets):
            if int(target) in to_label:
                self.items.append(index)
                self.labels.append(to_label[int(target)])
        for label, files in plan.new_files.items():
            self.items += files
            self.labels += [label] * len(files)
        self.own = len(self.items)  # what follows are repetitions
        if balance:
            times = repeat_factors(Counter(self.labels), plan.slots.keys(), share)
            again = [position for position in range(self.own) for _ in range(times[self.labels[position]] - 1)]
            self.items += [self.items[position] for position in again]
            self.labels += [self.labels[position] for position in again]

    def __len__(self) -> int:
        return len(self.items)

    def under(self, labels: Collection[int]) -> SwapDataset:
        """The same data set with the items of these labels alone."""
        kept = [position for position in range(len(self)) if self.labels[position] in labels]
        part = copy.copy(self)
        part.items, part.labels = [self.items[position] for position in kept], [self.labels[position] for position in kept]
        part.own = sum(position < self.own for position in kept)
        return part

    def images_of(self, label: int, count: int) -> torch.Tensor:
        """Up to `count` images under a label, evenly spread over those that there are: (n, channels, height, width)."""
        positions = [position for position in range(self.own) if self.labels[position] == label]
        step = max(1, len(positions) // count)
        return torch.stack([self[position][0] for position in positions[::step][:count]])

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        item = self.items[position]
        if isinstance(item, int):
            return self.base[item][0], self.labels[position]
        image = load_image(item)
        assert self.transform is not None
        return self.transform(image), self.labels[position]
