"""The stages of `rcas classify`: each has a folder, is done once, and knows how long it took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcas_plugin.errors import RcasError
from rcas_plugin.files import write_json
from rcas_plugin.lifelong.plan import Plan

#: In a stage's folder: whether it is done, and its seconds; and in the output folder what all stages are of.
STAGE, BEGUN = "stage.json", "begun.json"


@dataclass
class Stage:
    """One stage: what it makes lies in its folder, and counts once it is done.

    Attributes:
        folder: of the stage.
    """

    folder: Path
    _state: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        path = self.folder / STAGE
        self._state = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"done": False, "seconds": 0.0}

    @property
    def done(self) -> bool:
        """Whether all that it makes is there."""
        return bool(self._state["done"])

    @property
    def seconds(self) -> float:
        """How long it took, with attempts that were interrupted."""
        return float(self._state["seconds"])

    @contextmanager
    def at_work(self) -> Iterator[Path]:
        """Yield its folder; the stage is done where the block ends well, and its time counts in any case."""
        self.folder.mkdir(parents=True, exist_ok=True)
        began, before, done = time.monotonic(), self.seconds, False
        try:
            yield self.folder
            done = True
        finally:
            self._state = {"done": done, "seconds": before + time.monotonic() - began}
            write_json(self.folder / STAGE, self._state)


def check_begun(out: Path, plan: Plan, config: Mapping[str, Any] | None, counts: Mapping[str, int]) -> None:
    """Record what an output folder is of, or hold what it was begun with against what is asked for now.

    More strategies and seeds may be asked for later, and data and config may lie elsewhere then.

    Args:
        out: the output folder.
        plan: what is asked for.
        config: the content of the GAN's config; None without one.
        counts: training images a class.

    Raises:
        RcasError: a key has another value than it was begun with.
    """
    asked = {
        **plan.model_dump(mode="json", exclude={"strategies": True, "seeds": True, "data": True, "gan": {"cfg"}}),
        "images": dict(counts),
        "config": None if config is None else dict(config),
    }
    path = out / BEGUN
    if not path.is_file():
        write_json(path, asked)
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    flat, flat_begun = _flat(json.loads(json.dumps(asked))), _flat(begun)
    for key in dict.fromkeys([*flat, *flat_begun]):
        if flat.get(key) != flat_begun.get(key):
            raise RcasError(
                f"{key}: it is {flat.get(key)!r}, and {out} was begun with {flat_begun.get(key)!r}; set it back, "
                "or give another -o"
            )


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    return {path: leaf for name, part in value.items() for path, leaf in _flat(part, f"{key}.{name}" if key else name).items()}
