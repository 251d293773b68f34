"""The class that each label of a GAN was trained on: given, recorded, or guessed from the data set's folders."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Literal

from rcas_plugin.errors import RcasError
from rcas_plugin.settings import ClassRef

#: What the names come from: `RCAS.labels`; the record beside the checkpoint; the data set's folders in order; those of them that
#: are not new. The last two are guesses.
How = Literal["labels", "recorded", "folders", "other folders"]

#: What the record is called in sentences.
RECORDED = "rcas.json beside the checkpoint"


def name_labels(
    num_classes: int,
    classes: Sequence[str],
    labels: Sequence[str] | None = None,
    recorded: Sequence[str] | None = None,
    new: Collection[str] = (),
    *,
    former: Collection[str] = (),
    slots: Sequence[ClassRef] = (),
    key: str = "RCAS.labels",
) -> tuple[tuple[str, ...], How]:
    """The class that each label was trained on, and the source of these names.

    In this order: `labels`; `recorded`; the classes of the data set where there are as many; those of them that are not new
    where that makes as many.

    Args:
        num_classes: the labels of the GAN.
        classes: the data set's, by index.
        labels: as the user names them.
        recorded: as the run that trained the checkpoint recorded them.
        new: the classes of the data set that the GAN does not know yet.
        former: recorded classes that a swap has replaced.
        slots: the labels that are given up, by class or by index; for the list that a sentence offers.
        key: the key or option that holds `labels`, for sentences.

    Raises:
        RcasError: the names contradict each other, or nothing says what they are.
    """
    if labels is not None:
        _check_labels(num_classes, labels, recorded or (), former, key)
        return tuple(labels), "labels"
    if recorded:
        if len(recorded) != num_classes:
            raise RcasError(
                f"-ckpt: {RECORDED} names {len(recorded)} labels and the GAN has {num_classes}; take the config that trained it"
            )
        if twice := _named_twice(recorded):
            raise RcasError(f"{key}: {RECORDED} names {twice!r} for two labels; list the class of each label here, each once")
        return tuple(recorded), "recorded"
    others = tuple(name for name in classes if name not in new)
    if len(classes) == num_classes and len(others) == num_classes:
        return tuple(classes), "folders"
    if len(others) == num_classes:
        return others, "other folders"
    offer = _offer(num_classes, others, slots, key)
    if len(classes) == num_classes:
        known = ", ".join(repr(name) for name in classes if name in new)
        raise RcasError(
            f"{key}: nothing records which class each label was trained on, and the data set's folders are as many as the "
            f"labels only with the new class {known}; list the class folder of each label at pre-training, in order{offer}"
        )
    raise RcasError(
        f"{key}: the data set has {len(classes)} classes and the GAN {num_classes} labels; "
        f"list the class folder of each label at pre-training, in order{offer}"
    )


def label_of(ref: ClassRef, names: Sequence[str]) -> int | None:
    """The label of a class by name, or of an index; None where there is none."""
    if isinstance(ref, str):
        return names.index(ref) if ref in names else None
    return ref if 0 <= ref < len(names) else None


def reference_of(text: str, names: Sequence[str]) -> ClassRef:
    """A class as typed in a command: by name where there is one of that name, else by index."""
    return int(text) if text not in names and text.isascii() and text.isdigit() and len(text) < 10 else text


def _check_labels(num_classes: int, labels: Sequence[str], recorded: Sequence[str], former: Collection[str], key: str) -> None:
    if len(labels) != num_classes:
        raise RcasError(f"{key}: {len(labels)} names for a GAN of {num_classes} labels; name one class folder a label")
    if twice := _named_twice(labels):
        raise RcasError(f"{key}: {twice!r} is named for two labels; name one class folder a label, each once")
    if len(recorded) != num_classes:
        return
    for label, (name, known) in enumerate(zip(labels, recorded, strict=True)):
        if name == known:
            continue
        if name in recorded:
            raise RcasError(
                f"{key}: {name!r} is named for label {label}, and {RECORDED} has it at label {recorded.index(name)}; "
                "leave the key out to take the recorded names, or correct it"
            )
        if name in former:
            raise RcasError(
                f"{key}: {name!r} is named for label {label}, and {RECORDED} says that {known!r} has taken its place; "
                "leave the key out to take the recorded names, or correct it"
            )


def _named_twice(names: Sequence[str]) -> str | None:
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def _offer(num_classes: int, others: Sequence[str], slots: Sequence[ClassRef], key: str) -> str:
    """The list to write, where the slots say which classes are missing; folders are labels in sorted order."""
    missing = [ref for ref in slots if isinstance(ref, str) and ref not in others]
    unnamed = sorted(ref for ref in slots if isinstance(ref, int))
    names = sorted([*others, *missing])
    for label in unnamed:
        names.insert(label, f"THE CLASS OF LABEL {label}")
    if len(names) != num_classes:
        return ""
    quoted = [json.dumps(name, ensure_ascii=False) for name in names]
    return f": {key} {' '.join(quoted)}" if key.startswith("-") else f": {key.rpartition('.')[2]}: [{', '.join(quoted)}]"
