"""Which photograph an image file is a part of, and a part of the training images that is held out by photograph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from rcas_plugin.errors import RcasError

#: File names `NNNN_k`: crop k of photograph NNNN.
PATTERN = r"^(\d+)_\d+$"
#: The part of the training images that amounts are chosen on.
HELD_OUT = 0.25


def compile_pattern(text: str) -> re.Pattern[str]:
    """The pattern of `--group`; raises `RcasError` where it is none, or has no group to name the photograph."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise RcasError(f"--group: {text!r} is no regular expression ({error}); the default is {PATTERN!r}") from None
    if not pattern.groups:
        raise RcasError(f"--group: {text!r} has no group in brackets; put the part that names the photograph in ( )")
    return pattern


def photograph_of(path: str, class_name: str, pattern: re.Pattern[str]) -> str:
    """The name of a file's photograph within its class, by its name without the ending; of one of another form, its own name."""
    stem = Path(path).stem
    match = pattern.search(stem)
    return f"{class_name}/{match.group(1) if match else stem}"


def held_out(photographs: Sequence[str], seed: int, share: float = HELD_OUT) -> tuple[int, ...]:
    """The positions of whole photographs, drawn by the seed, that are `share` of the images or just over it.

    At least one photograph is held out and one is left; where all images are of one photograph, images are held out.
    """
    names = sorted(set(photographs))
    keys: Sequence[str] = photographs
    if len(names) < 2:
        keys = [str(position) for position in range(len(photographs))]
        names = sorted(set(keys))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    chosen: set[str] = set()
    count = 0
    for index in order[: len(names) - 1]:
        if chosen and count >= share * len(photographs):
            break
        chosen.add(names[index])
        count += sum(key == names[index] for key in keys)
    return tuple(position for position, key in enumerate(keys) if key in chosen)
