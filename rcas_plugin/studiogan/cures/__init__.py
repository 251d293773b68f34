"""Cures, from outside, of what keeps the pinned StudioGAN from running on today's stack and without a GPU.

A cure is a small function that names the upstream fault that it cures and can be applied twice without harm. `early` cures are
applied before any upstream module is imported, `late` ones after; `cpu` ones only where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

When = Literal["early", "late"]


@dataclass(frozen=True)
class Cure:
    """One fault of upstream's and the function that cures it."""

    name: str
    file: str
    fault: str
    when: When
    cpu_only: bool
    apply: Callable[[], None]


CURES: dict[str, Cure] = {}


def cure(
    file: str, fault: str, *, when: When = "late", cpu_only: bool = False
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a cure of `fault` in upstream's `file`."""

    def enter(function: Callable[[], None]) -> Callable[[], None]:
        CURES[function.__name__] = Cure(function.__name__, file, fault, when, cpu_only, function)
        return function

    return enter


def apply_cures(when: When, *, cpu: bool) -> list[str]:
    """Apply every cure of a moment; returns their names."""
    from rcas_plugin.studiogan.cures import cpu as _cpu  # noqa: F401  (importing them fills CURES)
    from rcas_plugin.studiogan.cures import files as _files  # noqa: F401
    from rcas_plugin.studiogan.cures import pictures as _pictures  # noqa: F401
    from rcas_plugin.studiogan.cures import scores as _scores  # noqa: F401
    from rcas_plugin.studiogan.cures import stack as _stack  # noqa: F401
    from rcas_plugin.studiogan.cures import training as _training  # noqa: F401

    chosen = [c for c in CURES.values() if c.when == when and (cpu or not c.cpu_only)]
    for cure in chosen:
        cure.apply()
    return [cure.name for cure in chosen]
