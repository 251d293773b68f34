"""The end of a run by a user's mistake: one sentence, exit code 2, no traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from rcas_plugin.errors import RcasError

F = TypeVar("F", bound=Callable[..., Any])


def stop_with_a_sentence(function: F) -> F:
    """Decorator: an `RcasError` from inside is printed as `rcas: error: …` and ends the process with exit code 2."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except RcasError as error:
            print(f"rcas: error: {_sentence(error)}", file=sys.stderr, flush=True)
            raise SystemExit(2) from None

    return guarded  # type: ignore[return-value]


def _sentence(error: RcasError) -> str:
    """The text of an error, without the traceback that torch puts before it where a data loader's process raised it."""
    text = str(error)
    return text.rpartition("RcasError: ")[2].strip() if "Original Traceback" in text else text
