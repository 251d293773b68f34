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
from rcas_plugin.lifelong.strategies import STRATEGIES

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


def count_done(out: Path) -> int:
    """How many stages in an output folder are done; one that was interrupted is not."""
    return sum(Stage(path.parent).done for path in out.rglob(STAGE))


def check_begun(out: Path, plan: Plan, config: Mapping[str, Any] | None, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Hold what an output folder was begun with against what is asked for now; nothing is written.

    More strategies and seeds may be asked for later, and data and config may lie elsewhere then. What no stage has been made of
    yet may change: the GAN's keys before there is one, and the keys of `gan.rcas` of a strategy that was not begun.

    Args:
        out: the output folder.
        plan: what is asked for.
        config: the content of the GAN's config; None without one.
        counts: `train` and `valid` -> images a class.

    Raises:
        RcasError: a key has another value than it was begun with.
    """
    path = out / BEGUN
    if not path.is_file():
        return
    begun, asked = json.loads(path.read_text(encoding="utf-8")), _asked(plan, config, counts)
    begun.setdefault("test_images", asked["test_images"])  # which were not recorded at first
    flat, flat_begun = (_flat(_bound(out, content)) for content in (asked, begun))
    for key in dict.fromkeys([*flat, *flat_begun]):
        if flat.get(key) != flat_begun.get(key):
            raise RcasError(
                f"{key}: it is {flat.get(key)!r}, and {out} was begun with {flat_begun.get(key)!r}; set it back, "
                "or give another -o"
            )


def write_begun(out: Path, plan: Plan, config: Mapping[str, Any] | None, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Record what an output folder is of, once `check_begun` has found nothing; arguments as there."""
    write_json(out / BEGUN, _asked(plan, config, counts))


def _asked(plan: Plan, config: Mapping[str, Any] | None, counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """What is recorded, as it comes out of a file."""
    asked = {
        **plan.model_dump(mode="json", exclude={"strategies": True, "seeds": True, "data": True, "gan": {"cfg"}}),
        "images": counts["train"],
        "test_images": counts["valid"],
        "config": None if config is None else dict(config),
    }
    return dict(json.loads(json.dumps(asked)))


def _bound(out: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, without what no stage has been made of yet; a stage that was killed may have left its folder alone."""
    gan = content.get("gan", {})
    bound = {key: value for key, value in content.items() if key not in ("gan", "config")}
    if any(out.glob("seed-*/gan-0")):
        bound["config"] = content.get("config")
        bound["gan"] = {key: value for key, value in gan.items() if key != "rcas"}
        begun = [name for name in STRATEGIES if any(out.glob(f"seed-*/{name}/*"))]
        bound["gan"]["rcas"] = {name: gan.get("rcas", {}).get(name, {}) for name in begun}
    return bound


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    return {path: leaf for name, part in value.items() for path, leaf in _flat(part, f"{key}.{name}" if key else name).items()}
