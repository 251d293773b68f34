"""Which class's images stand behind which label during a swap."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from torchvision.datasets.folder import IMG_EXTENSIONS

from rcas_plugin.data.folders import DataClasses, image_files
from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name
from rcas_plugin.labels.names import RECORDED, How, label_of, name_labels
from rcas_plugin.settings import ClassRef, CommonSettings


@dataclass(frozen=True)
class LabelPlan:
    """The class of the data set behind each label during a swap.

    Attributes:
        num_classes: K, the labels of the GAN that is trained.
        slots: label of each new class -> its index in the data set, or None where `new_data` holds its images.
        remaining: label -> index of its class in the data set, or None where it has no images and needs none.
        names: the name of the class behind each of the K labels, after the swap.
        names_before: the names behind the labels of the pre-trained GAN; as many, unless a method changes their number.
        new_files: label -> the image files of a new class from a folder of its own.
        counts: live label -> its images; empty where that is not known.
        guessed: True where folder order was taken for label order with nothing to confirm it.
        remarks: sentences that the user is told at the start: guesses, and what contradicts the record.
    """

    num_classes: int
    slots: Mapping[int, int | None]
    remaining: Mapping[int, int | None]
    names: tuple[str, ...]
    names_before: tuple[str, ...]
    new_files: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[int, int] = field(default_factory=dict)
    guessed: bool = False
    remarks: tuple[str, ...] = ()

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
        """The labels that are drawn for fakes: remaining ones and slots, ascending."""
        return tuple(sorted({*self.slots, *self.remaining}))

    def drawn(self, share: float = 0.0, draws: Literal["all", "new"] = "all", *, exactly: bool = False) -> tuple[int, ...]:
        """The live labels as fakes draw them, each entry alike: a slot stands there so often that the slots have their share.

        Args:
            share: of the new classes together, at least, under 1; 0 draws each label as often as any other.
            draws: `new` for the new classes alone (`Method.draws`).
            exactly: the share is no less and no more.
        """
        slots, remaining = sorted(self.slots), sorted(self.remaining)
        if draws == "new":
            return tuple(slots)
        if not remaining or not share or (share <= len(slots) / len(self.live) and not exactly):
            return self.live
        part = Fraction(share).limit_denominator(100)
        times = part.numerator * len(remaining), (part.denominator - part.numerator) * len(slots)
        common = math.gcd(*times)
        return (*slots * (times[0] // common), *remaining * (times[1] // common))

    @property
    def class_to_label(self) -> dict[int, int]:
        """Index of a class in the data set -> the label that its images carry; other classes are left out."""
        return {index: label for label, index in (*self.remaining.items(), *self.slots.items()) if index is not None}


def resolve_labels(
    settings: CommonSettings,
    num_classes: int,
    classes: DataClasses,
    recorded: Sequence[str] | None = None,
    *,
    num_before: int | None = None,
    dropped: Collection[str] = (),
    former: Collection[str] = (),
    shown: Literal["all", "new"] = "all",
    key: str = "RCAS.labels",
) -> LabelPlan:
    """Work out which class of the data set stands behind which label.

    The class behind each label at pre-training is what `name_labels` says: from `RCAS.labels`, the record, or a guess.

    Args:
        settings: the RCAS section.
        num_classes: K, the labels of the GAN that is trained (`DATA.num_classes`).
        classes: the classes of the data set.
        recorded: the names that the pre-training run recorded, label by label.
        num_before: the labels of the pre-trained GAN, where they may be more or fewer; K by default.
        dropped: classes that an earlier swap has left without images; they need none.
        former: recorded classes that an earlier swap has replaced.
        shown: whose images training takes from the data set (`Method.shown`); with `new` a remaining label needs none.
        key: what the user names the pre-trained labels with, for sentences.

    Raises:
        RcasError: the section and the data do not fit; the sentence names the key and what is allowed.
    """
    before = num_classes if num_before is None else num_before
    new = _new_class_names(settings, classes)
    names_before, how = name_labels(
        before, classes.names, settings.labels, recorded, new, former=former, slots=list(settings.swap), key=key
    )
    slots: dict[int, ClassRef]
    if settings.classes is not None:
        names = list(settings.classes)
        slots = {label: name for label, name in enumerate(names) if name not in names_before}
        if not slots:
            raise RcasError(
                "RCAS.classes: no class is new; name one that the checkpoint was not trained on, "
                "or list in RCAS.labels those that it was"
            )
    else:
        names = [*names_before, *(str(ref) for ref in settings.add)]
        slots = {_slot(ref, names_before, how, key): new_class for ref, new_class in settings.swap.items()}
        if len(slots) < len(settings.swap):
            raise RcasError("RCAS.swap: the same slot is named twice; name each slot once")
        slots.update(zip(range(before, len(names)), settings.add, strict=True))
    if len(names) != num_classes:
        what = "RCAS.classes" if settings.classes is not None else "RCAS.add" if settings.add else "-ckpt"
        raise RcasError(f"{what}: that makes {len(names)} labels, and DATA.num_classes is {num_classes}; set it to {len(names)}")

    new_files: dict[int, tuple[str, ...]] = {}
    slot_index: dict[int, int | None] = {}
    for label, ref in slots.items():
        if settings.new_data is not None:
            slot_index[label] = None
            new_files[label] = _image_files(settings.new_data, str(ref), alone=len(slots) == 1)
        else:
            slot_index[label] = _class_index(ref, classes, _key_of(settings, label, before))
    after = list(names)
    for label, ref in slots.items():
        index = slot_index[label]
        after[label] = str(ref) if index is None else classes.names[index]
    for label in slots:
        _check_new(after, label, slots, names_before, _key_of(settings, label, before), key)
    remaining = _remaining(settings, names, slots, classes, {after[label] for label in slots}, dropped, key, shown)

    counts = {label: len(new_files[label]) if index is None else classes.counts[index] for label, index in slot_index.items()}
    counts.update({label: 0 if index is None else classes.counts[index] for label, index in remaining.items()})
    return LabelPlan(num_classes, slot_index, remaining, tuple(after), names_before, new_files, counts,
                     how in ("folders", "other folders"), _remarks(how, names_before, recorded, key))  # fmt: skip


def _key_of(settings: CommonSettings, label: int, before: int) -> str:
    return "classes" if settings.classes is not None else "swap" if label < before else "add"


def _new_class_names(settings: CommonSettings, classes: DataClasses) -> set[str]:
    """The names of the new classes that lie in the data set itself."""
    if settings.new_data is not None or settings.classes is not None:
        return set()  # of classes, which of them are new is what the pre-trained classes' names decide
    indices = [_class_index(ref, classes, "swap") for ref in settings.swap.values()]
    indices += [_class_index(ref, classes, "add") for ref in settings.add]
    return {classes.names[index] for index in indices}


def _check_new(
    after: Sequence[str], slot: int, slots: Collection[int], names_before: Sequence[str], section: str, key: str
) -> None:
    """Raise `RcasError` where a slot's new class has another label as well."""
    name = after[slot]
    others = [label for label, other in enumerate(after) if other == name and label != slot]
    if any(label in slots for label in others):
        raise RcasError(f"RCAS.{section}: the same new class is named for two slots; name each new class once")
    if others:
        raise RcasError(
            f"RCAS.{section}: the new class {name!r} stands behind label {others[0]} already; "
            f"name another class, or that label as the slot (the labels are {', '.join(names_before)}; "
            f"set {key} where they were others)"
        )


def _remarks(how: How, names: Sequence[str], recorded: Sequence[str] | None, key: str) -> tuple[str, ...]:
    if how in ("folders", "other folders"):
        which = "folders" if how == "folders" else "folders without the new ones"
        return (
            "nothing records the classes that the checkpoint was trained on; its labels are taken to be the data set's "
            f"{which} in order. Set {key} if they were others.",
        )
    if how == "labels" and recorded and len(recorded) == len(names):
        return tuple(
            f"{key} names label {label} {name!r}, and {RECORDED} {known!r}; {key} is taken"
            for label, (name, known) in enumerate(zip(names, recorded, strict=True))
            if name != known
        )
    return ()


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


def _slot(ref: ClassRef, names: Sequence[str], how: How, key: str) -> int:
    label = label_of(ref, names)
    if label is not None:
        return label
    sources = {"labels": key, "recorded": RECORDED, "folders": "the data set's folders", "other folders": "the other folders"}
    source = f" (by {sources[how]})" if how == "labels" else f" (by {sources[how]}; set {key} where they were others)"
    if isinstance(ref, str):
        raise RcasError(f"RCAS.swap: slot {ref!r} is not a label; allowed: {', '.join(names)}{source}")
    hint = f'; for the class folder write "{ref}" in quotes' if str(ref) in names else ""
    raise RcasError(f"RCAS.swap: slot {ref} is outside the labels; allowed: 0 to {len(names) - 1}{hint}")


def _remaining(
    settings: CommonSettings,
    names: Sequence[str],
    slots: Collection[int],
    classes: DataClasses,
    taken: Collection[str],
    dropped: Collection[str],
    key: str,
    shown: Literal["all", "new"],
) -> dict[int, int | None]:
    """Label -> class index of the labels that stay, each with images; None for one that has none and needs none."""
    folders = {name: index for index, name in enumerate(classes.names) if classes.counts[index]}
    if settings.remaining == "all":
        chosen = [label for label, name in enumerate(names) if label not in slots and name not in dropped]
        for label in chosen:
            if names[label] not in folders and shown == "all":
                raise RcasError(_without_images(label, names, folders, taken, key))
        if not chosen and len(slots) < len(names):
            raise RcasError("RCAS.remaining: no label remains; allowed: all, with images of at least one class beside the swap")
    else:
        chosen = []
        for ref in settings.remaining:
            label_or_none = label_of(ref, names)
            if label_or_none is None and isinstance(ref, str):
                raise RcasError(f"RCAS.remaining: {ref!r} is not a label; allowed: {', '.join(names)}")
            if label_or_none is None:
                raise RcasError(f"RCAS.remaining: {ref} is outside the labels; allowed: 0 to {len(names) - 1}")
            label = label_or_none
            if label in slots:
                raise RcasError(f"RCAS.remaining: slot {ref} of RCAS.swap cannot remain as well; leave it out of one of the two")
            if names[label] not in folders and shown == "all":
                raise RcasError(f"RCAS.remaining: label {label} ({names[label]}) has no images; leave it out")
            chosen.append(label)
    return {label: folders.get(names[label]) for label in chosen}


def _without_images(label: int, names: Sequence[str], folders: Collection[str], taken: Collection[str], key: str) -> str:
    free = [name for name in folders if name not in names and name not in taken]
    near = difflib.get_close_matches(names[label].casefold(), [name.casefold() for name in free], n=1, cutoff=0.4)
    folder = next((name for name in free if near and name.casefold() == near[0]), None)
    rename = f"the nearest folder is {folder!r}: name one after the other (the folder, or the class in {key})"
    return (
        f"RCAS.remaining: label {label} is to stay, and the data set has no images of its class {names[label]!r}; "
        f"{rename if folder is not None else f'put them back (or correct its name in {key})'}, "
        "set RCAS.remaining_data to replay, which draws them from the pre-trained generator, "
        "or list in RCAS.remaining the labels that stay"
    )


def _image_files(folder: str, name: str, *, alone: bool) -> tuple[str, ...]:
    if not is_plain_name(name):
        raise RcasError(f"RCAS.new_data: {name!r} is not allowed as a new class; allowed: the name of a folder in {folder}")
    root = Path(folder) / name
    if not root.is_dir() and alone:
        root = Path(folder)
    files = image_files(root) if root.is_dir() else ()
    if not files:
        raise RcasError(f"RCAS.new_data: the new class {name!r} has no images in {root}; allowed: {', '.join(IMG_EXTENSIONS)}")
    return files
