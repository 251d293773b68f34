"""Label slots, remaining labels, and the images behind them.

A conditional GAN knows labels 0 to K-1; a data set knows classes by folder. `resolve_labels` says once and for all which
class's images stand behind which label during a swap, and `SwapDataset` shows a data set that way, opening no image to do it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader

from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name
from rcas_plugin.settings import ClassRef, RcasSettings


@dataclass(frozen=True)
class DataClasses:
    """What a data set says about its classes without an image being opened.

    Attributes:
        names: class names in the order of their indices (the indices themselves as text where there are no names).
        counts: images a class, same order.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class LabelPlan:
    """Which images stand behind which label during a swap.

    Attributes:
        num_classes: K, the labels of the GAN that is trained.
        slots: label of each new class -> its index in the data set, or None where `new_data` holds its images.
        remaining: label -> index of its class in the data set.
        names: the name of the class behind each of the K labels, after the swap.
        names_before: the names behind the labels of the pre-trained GAN; as many, unless a method changes their number.
        new_files: label -> the image files of a new class from a folder of its own.
        counts: live label -> its images; empty where that is not known.
        guessed: True where folder order was taken for label order with nothing to confirm it.
    """

    num_classes: int
    slots: Mapping[int, int | None]
    remaining: Mapping[int, int]
    names: tuple[str, ...]
    names_before: tuple[str, ...]
    new_files: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[int, int] = field(default_factory=dict)
    guessed: bool = False

    @property
    def kept(self) -> dict[int, int]:
        """Label -> its label in the pre-trained GAN, for every class that stays, whether it has images or not."""
        before = {name: label for label, name in enumerate(self.names_before)}
        return {label: before[name] for label, name in enumerate(self.names) if label not in self.slots}

    @property
    def replaced(self) -> dict[int, str]:
        """Slot -> the class that it showed before, where that class is gone; a label that was added has none."""
        before = enumerate(self.names_before)
        return {label: name for label, name in before if label in self.slots and name not in self.names}

    @property
    def live(self) -> tuple[int, ...]:
        """The labels that are drawn for fakes and that have images: remaining ones and slots, ascending."""
        return tuple(sorted({*self.slots, *self.remaining}))

    @property
    def class_to_label(self) -> dict[int, int]:
        """Index of a class in the data set -> the label that its images carry; other classes are left out."""
        moved = {index: label for label, index in self.slots.items() if index is not None}
        return {**{index: label for label, index in self.remaining.items()}, **moved}


def resolve_labels(
    settings: RcasSettings,
    num_classes: int,
    classes: DataClasses,
    recorded: Sequence[str] | None = None,
    *,
    num_before: int | None = None,
) -> LabelPlan:
    """Work out which class of the data set stands behind which label.

    The class behind each label at pre-training is taken from, in this order: `RCAS.labels`; what the pre-training run
    recorded; the data set's classes where there are K of them; the data set's classes without the new ones where that
    makes K.

    Args:
        settings: the RCAS section.
        num_classes: K, the labels of the GAN that is trained (`DATA.num_classes`).
        classes: the classes of the data set.
        recorded: the names that the pre-training run recorded, label by label.
        num_before: the labels of the pre-trained GAN, where they may be more or fewer; K by default.

    Raises:
        RcasError: the section and the data do not fit; the sentence names the key and what is allowed.
    """
    new_names = _new_class_names(settings, classes)
    before = num_classes if num_before is None else num_before
    names_before, guessed = _label_names(settings, before, classes, recorded, new_names)
    if settings.classes is not None:
        names = list(settings.classes)
        slots: dict[int, ClassRef] = {label: name for label, name in enumerate(names) if name not in names_before}
        if not slots:
            raise RcasError(
                "RCAS.classes: no class is new; name one that the checkpoint was not trained on, "
                "or list in RCAS.labels those that it was"
            )
    else:
        names = [*names_before, *(str(ref) for ref in settings.add)]
        slots = {_slot(ref, names_before): new for ref, new in settings.swap.items()}
        if len(slots) < len(settings.swap):
            raise RcasError("RCAS.swap: the same slot is named twice; name each slot once")
        slots.update(zip(range(before, len(names)), settings.add, strict=True))
    if len(names) != num_classes:
        what = "RCAS.classes" if settings.classes is not None else "RCAS.add" if settings.add else "-ckpt"
        raise RcasError(f"{what}: that makes {len(names)} labels, and DATA.num_classes is {num_classes}; set it to {len(names)}")

    folders = {name: index for index, name in enumerate(classes.names)}
    new_files: dict[int, tuple[str, ...]] = {}
    slot_index: dict[int, int | None] = {}
    for label, ref in slots.items():
        if settings.new_data is not None:
            slot_index[label] = None
            new_files[label] = _image_files(settings.new_data, str(ref), alone=len(slots) == 1)
        else:
            key = "classes" if settings.classes is not None else "swap" if label < before else "add"
            slot_index[label] = _class_index(ref, classes, key)

    taken = {index for index in slot_index.values() if index is not None}
    if len(taken) < len([index for index in slot_index.values() if index is not None]):
        key = "swap" if settings.swap else "add" if settings.add else "classes"
        raise RcasError(f"RCAS.{key}: the same new class is named for two slots; name each new class once")
    remaining = _remaining(settings, names, slots.keys(), folders, taken, classes)

    after = list(names)
    for label, ref in slots.items():
        index = slot_index[label]
        after[label] = str(ref) if index is None else classes.names[index]
    counts = {label: len(new_files[label]) if index is None else classes.counts[index] for label, index in slot_index.items()}
    counts.update({label: classes.counts[index] for label, index in remaining.items()})
    return LabelPlan(num_classes, slot_index, remaining, tuple(after), names_before, new_files, counts, guessed)


def _new_class_names(settings: RcasSettings, classes: DataClasses) -> set[str]:
    """The names of the new classes that lie in the data set itself."""
    if settings.new_data is not None or settings.classes is not None:
        return set()  # of classes, which of them are new is what the pre-trained classes' names decide
    found = [_class_index(ref, classes, "swap") for ref in settings.swap.values()]
    found += [_class_index(ref, classes, "add") for ref in settings.add]
    return {classes.names[index] for index in found}


def _class_index(ref: ClassRef, classes: DataClasses, key: str) -> int:
    shown = ", ".join(classes.names[:20])
    if isinstance(ref, str):
        if ref not in classes.names:
            raise RcasError(f"RCAS.{key}: the new class {ref!r} has no images; classes of the data set: {shown}")
        index = classes.names.index(ref)
    else:
        index = ref
        if not 0 <= index < len(classes.names):
            raise RcasError(
                f"RCAS.{key}: there is no class of index {index} in the data set; allowed: 0 to {len(classes.names) - 1}"
            )
    if classes.counts[index] == 0:
        raise RcasError(f"RCAS.{key}: the new class {classes.names[index]!r} has no images; classes of the data set: {shown}")
    return index


def _label_names(
    settings: RcasSettings,
    num_classes: int,
    classes: DataClasses,
    recorded: Sequence[str] | None,
    new_names: set[str],
) -> tuple[tuple[str, ...], bool]:
    if settings.labels is not None:
        if len(settings.labels) != num_classes:
            raise RcasError(
                f"RCAS.labels: {len(settings.labels)} names for a GAN of {num_classes} labels; name one class folder a label"
            )
        return tuple(settings.labels), False
    if recorded is not None and len(recorded) == num_classes:
        return tuple(recorded), False
    if len(classes.names) == num_classes:
        return classes.names, True
    old = tuple(name for name in classes.names if name not in new_names)
    if len(old) == num_classes:
        return old, False
    raise RcasError(
        f"RCAS.labels: the data set has {len(classes.names)} classes and the GAN {num_classes} labels; "
        "list the class folder of each label at pre-training, in order"
    )


def _slot(ref: ClassRef, names: Sequence[str]) -> int:
    if isinstance(ref, str):
        if ref not in names:
            raise RcasError(f"RCAS.swap: slot {ref!r} is not a label; allowed: {', '.join(names)}")
        return names.index(ref)
    if not 0 <= ref < len(names):
        hint = f'; for the class folder write "{ref}" in quotes' if str(ref) in names else ""
        raise RcasError(f"RCAS.swap: slot {ref} is outside the labels; allowed: 0 to {len(names) - 1}{hint}")
    return ref


def _remaining(
    settings: RcasSettings,
    names: Sequence[str],
    slots: Any,
    folders: Mapping[str, int],
    taken: set[int],
    classes: DataClasses,
) -> dict[int, int]:
    if settings.remaining == "all":
        chosen = [
            label
            for label, name in enumerate(names)
            if label not in slots and name in folders and folders[name] not in taken and classes.counts[folders[name]]
        ]
        if not chosen and len(slots) < len(names):
            raise RcasError("RCAS.remaining: no label remains; allowed: all, with images of at least one class beside the swap")
    else:
        chosen = []
        for ref in settings.remaining:
            if isinstance(ref, str) and ref not in names:
                raise RcasError(f"RCAS.remaining: {ref!r} is not a label; allowed: {', '.join(names)}")
            label = names.index(ref) if isinstance(ref, str) else ref
            if not 0 <= label < len(names):
                raise RcasError(f"RCAS.remaining: {label} is outside the labels; allowed: 0 to {len(names) - 1}")
            if label in slots:
                raise RcasError(f"RCAS.remaining: slot {ref} of RCAS.swap cannot remain as well; leave it out of one of the two")
            index = folders.get(names[label])
            if index is None or not classes.counts[index]:
                raise RcasError(f"RCAS.remaining: label {label} ({names[label]}) has no images; leave it out")
            if index in taken:
                raise RcasError(f"RCAS.remaining: {names[label]!r} is the new class of RCAS.swap; leave it out of the list")
            chosen.append(label)
    return {label: folders[names[label]] for label in chosen}


def _image_files(folder: str, name: str, *, alone: bool) -> tuple[str, ...]:
    if not is_plain_name(name):
        raise RcasError(f"RCAS.new_data: {name!r} is not allowed as a new class; allowed: the name of a folder in {folder}")
    root = Path(folder) / name
    if not root.is_dir() and alone:
        root = Path(folder)
    files = sorted(str(path) for path in root.rglob("*") if path.suffix.lower() in IMG_EXTENSIONS) if root.is_dir() else []
    if not files:
        raise RcasError(f"RCAS.new_data: the new class {name!r} has no images in {root}; allowed: {', '.join(IMG_EXTENSIONS)}")
    return tuple(files)


def times_shown(counts: Mapping[int, int], new: Collection[int]) -> dict[int, int]:
    """How often each image of a label is shown in an epoch, so that a new class of few images is drawn as often as the others.

    Fakes are drawn with every label alike; where D hardly sees a real image under a label, it learns that the label is fake.

    Args:
        counts: label -> images.
        new: the labels of the new classes; the others' images are shown once.

    Returns:
        Label -> times, 1 or more: the mean number of images of the other labels, over the label's own, rounded.
    """
    others = [count for label, count in counts.items() if label not in new] or list(counts.values())
    mean = sum(others) / len(others)
    return {label: max(1, round(mean / count)) if label in new else 1 for label, count in counts.items()}


class SwapDataset(Dataset[tuple[torch.Tensor, int]]):
    """A data set as the swap sees it: old-class images left out, new-class images under the slot's label.

    Args:
        base: yields (image tensor, class index); only its items of live classes are ever asked for.
        targets: the class index of every item of `base`, read without opening an image.
        plan: which class stands behind which label.
        transform: PIL image -> tensor, for the image files of `plan.new_files`.
        balance: show the images of new classes as often as `times_shown` says.

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
            times = times_shown(Counter(self.labels), plan.slots.keys())
            again = [position for position in range(self.own) for _ in range(times[self.labels[position]] - 1)]
            self.items += [self.items[position] for position in again]
            self.labels += [self.labels[position] for position in again]

    def __len__(self) -> int:
        return len(self.items)

    def images_of(self, label: int, count: int) -> torch.Tensor:
        """Up to `count` images under a label, evenly spread over those that there are: (n, channels, height, width)."""
        positions = [position for position in range(self.own) if self.labels[position] == label]
        step = max(1, len(positions) // count)
        return torch.stack([self[position][0] for position in positions[::step][:count]])

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        item = self.items[position]
        if isinstance(item, int):
            return self.base[item][0], self.labels[position]
        image = default_loader(item)
        assert self.transform is not None
        return self.transform(image), self.labels[position]
