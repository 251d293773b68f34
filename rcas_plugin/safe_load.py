"""The one reader of `torch.save`'s files: tensors, plain values and numpy's numbers, never code.

torch's own default differs by version (before 2.6 a file may run any code that it holds), and so does what its allow-list takes;
here both are the same from torch 2.4 on.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np
import torch

#: Kinds of numpy scalar that a checkpoint may hold: truth values, integers, floating-point and complex numbers.
_KINDS = "biufc"


def load(path: str | PathLike[str]) -> Any:
    """Return the content of a file that `torch.save` wrote, its tensors on the CPU.

    Raises:
        OSError: the file cannot be opened.
        Exception: it is damaged, or holds anything else than tensors, plain values and numpy's numbers. torch raises many types.
    """
    allow_numpy_scalars()
    with _no_scripts():
        return torch.load(path, map_location="cpu", weights_only=True)


def force_safe_loads() -> None:
    """Make every `torch.load` of this process as safe as `load`, whatever torch's default is and whatever its caller asks for.

    Safe to call again.
    """
    allow_numpy_scalars()
    original: Callable[..., Any] = torch.load
    if getattr(original, "is_safe", False):
        return

    @functools.wraps(original)
    def safe(*args: Any, **options: Any) -> Any:
        with _no_scripts():
            return original(*args, **{**options, "weights_only": True})

    safe.is_safe = True  # type: ignore[attr-defined]
    torch.load = safe


@contextmanager
def _no_scripts() -> Iterator[None]:
    """Refuse TorchScript inside the block: torch before 2.6 hands an archive to `torch.jit.load`, which runs its code."""

    def refuse(*args: Any, **options: Any) -> Any:
        raise pickle.UnpicklingError("the file is a TorchScript archive, which holds code")

    jit: Any = torch.jit
    original = jit.load
    jit.load = refuse
    try:
        yield
    finally:
        jit.load = original


def allow_numpy_scalars() -> None:
    """Add numpy's numbers, under the names that numpy 1 and 2 write, to torch's allow-list; once, however often it is called."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([entry for entry in _ALLOWED if entry not in allowed])


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, np.dtype) or dtype.kind not in _KINDS or not isinstance(data, bytes):
        raise ValueError(f"a checkpoint holds numbers and tensors, and no numpy value of type {dtype}")
    return np.frombuffer(data, dtype, count=1)[0]


def _encode(text: str, encoding: str) -> bytes:
    """Return the bytes that pickle's protocol 2, which knows text alone, has written as text."""
    if encoding != "latin1":
        raise ValueError(f"a checkpoint's bytes are written as latin1, and not as {encoding}")
    return text.encode("latin1")


def _named(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """Return a function that torch takes for `module.name`: torch 2.4 cannot be told another name for one."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, stand_in.__name__, stand_in.__qualname__ = module, name, name
    return stand_in


_ALLOWED: list[Any] = [
    _named(_scalar, "numpy.core.multiarray", "scalar"),  # numpy 1
    _named(_scalar, "numpy._core.multiarray", "scalar"),  # numpy 2
    _named(_encode, "_codecs", "encode"),  # torch 2.4 lacks it
    np.dtype,
    *dict.fromkeys(type(np.dtype(code)) for code in np.typecodes["All"] if np.dtype(code).kind in _KINDS),
]
