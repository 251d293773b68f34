"""The runs of a report: read from their folders, grouped where only the seed differs, compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcas_plugin.errors import RcasError
from rcas_plugin.metrics.best import states_since_best
from rcas_plugin.metrics.curves import end_level, mean_interval, steps_to_level
from rcas_plugin.metrics.schema import Edits, as_json
from rcas_plugin.record import Record, read_checked, read_record
from rcas_plugin.report.pictures import Curves
from rcas_plugin.settings import read_recorded
from rcas_plugin.watch.observer import EDITS, METRICS, read_metrics

#: mean, lower and upper end; all three alike for a single run.
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Run:
    """One swap, read from its folder.

    Attributes:
        folder: of the run.
        record: its `rcas.json`.
        metrics: its `swap_metrics.json`.
        edits: what `prepare` changed (`rcas_plugin.watch.edits`); empty where it was not noted.
    """

    folder: Path
    record: Record
    metrics: Mapping[str, Any]
    edits: Mapping[str, Mapping[str, Mapping[str, Any]]]

    @classmethod
    def read(cls, folder: Path) -> Run:
        """The run in a folder; raises `RcasError` where it holds no metrics of a swap, or files that are none of the plugin's."""
        metrics = read_metrics(folder)
        if not metrics.get("steps"):
            raise RcasError(
                f"{folder} holds no {METRICS}; give the checkpoint folder of a swap that ran with RCAS.swap_metrics over 0"
            )
        content = read_checked(folder / EDITS, Edits, "delete it, or take another run")
        return cls(folder, read_record(folder), metrics, {} if content is None else as_json(content))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The recorded section as its method has it today, so that runs of earlier versions are compared with later ones."""
        recorded = read_recorded(self.record.swap) if self.record.swap else None
        return dict(self.record.swap or {}) if recorded is None else recorded.model_dump(mode="json")

    @property
    def steps(self) -> dict[int, dict[str, Any]]:
        """The moments by step, ascending."""
        return {int(step): moment for step, moment in sorted(self.metrics["steps"].items(), key=lambda item: int(item[0]))}

    @property
    def last(self) -> dict[str, Any]:
        return list(self.steps.values())[-1]

    @property
    def best_step(self) -> int | None:
        """The step of the best state, which the run's best weights hold; None where no version recorded one."""
        recorded = (self.metrics.get("best") or {}).get("step")
        return int(recorded) if recorded in self.steps else None

    @property
    def kept_step(self) -> int:
        """The step of the best state; where none was recorded the best weights are the newest ones, and it is the last."""
        return max(self.steps) if self.best_step is None else self.best_step

    @property
    def kept(self) -> dict[str, Any]:
        """The figures at `kept_step`."""
        return self.steps[self.kept_step]

    @property
    def stopped(self) -> bool:
        """True where the run ended by itself (`RCAS.stop`)."""
        stop = self.settings.get("stop")
        patience = stop.get("patience") if isinstance(stop, Mapping) else 0
        return isinstance(patience, int) and 0 < patience <= states_since_best(self.metrics, max(self.steps))

    def curve(self, part: str, figure: str) -> dict[int, float]:
        """Step -> the figure, at the moments that have it."""
        values = {step: moment[part].get(figure) for step, moment in self.steps.items()}
        return {step: value for step, value in values.items() if value is not None}


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed.

    Attributes:
        name: the method, and where that is not enough what tells it from the others.
        runs: at least one.
    """

    name: str
    runs: tuple[Run, ...]

    def at_end(self, part: str, figure: str) -> Interval | None:
        """The mean and interval of a figure at the last moment of each run; None where no run has it."""
        values = [run.last[part].get(figure) for run in self.runs]
        known = [value for value in values if value is not None]
        return mean_interval(known) if known else None

    def at_best(self, part: str, figure: str) -> Interval | None:
        """The same at the state that each run keeps as its best."""
        values = [run.kept[part].get(figure) for run in self.runs]
        known = [value for value in values if value is not None]
        return mean_interval(known) if known else None

    @property
    def best_steps(self) -> list[int]:
        """The steps of the runs' best states, where they are recorded."""
        return [run.best_step for run in self.runs if run.best_step is not None]

    def curve(self, part: str, figure: str) -> dict[int, Interval]:
        """Step -> the mean and interval of a figure, at the steps that every run has."""
        curves = [run.curve(part, figure) for run in self.runs]
        shared = [step for step in curves[0] if all(step in curve for curve in curves)]
        return {step: mean_interval([curve[step] for curve in curves]) for step in shared}

    def steps_to(self, level: float) -> list[float]:
        """For each run the step at which the new class's distance was at the level; infinite where it never was."""
        return [steps_to_level(run.curve("new", "frechet_distance"), level) for run in self.runs]


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in some folders, each a run's own or one that holds `checkpoints/` of several.

    Raises:
        RcasError: one of them is or holds no run with metrics.
    """
    runs = []
    for path in paths:
        inside = sorted(file.parent for file in (path / "checkpoints").glob(f"*/{METRICS}"))
        runs += [Run.read(folder) for folder in inside or [path]]
    return runs


def group(runs: Sequence[Run]) -> list[Group]:
    """Groups of runs with the same settings and the same pre-trained GAN, in the order of the runs."""
    together: dict[str, list[Run]] = {}
    for run in runs:
        key = json.dumps([run.settings, run.record.source, run.metrics["slots"]], sort_keys=True)
        together.setdefault(key, []).append(run)
    members = list(together.values())
    names = [str(several[0].settings.get("method", several[0].folder.name)) for several in members]
    groups = []
    for name, several in zip(names, members, strict=True):
        alike = [other[0] for other_name, other in zip(names, members, strict=True) if other_name == name]
        groups.append(Group(", ".join([name, *_differing(several[0], alike)]), tuple(several)))
    return groups


def _differing(run: Run, others: Sequence[Run]) -> list[str]:
    """The settings in which a run differs from others of its method, in words; its folder's name where none does."""
    if len(others) == 1:
        return []
    keys = [key for key in run.settings if any(other.settings.get(key) != run.settings[key] for other in others)]
    return [f"{key} {json.dumps(run.settings[key])}" for key in keys] or [run.folder.name]


def common_level(groups: Sequence[Group]) -> float | None:
    """A distance to the new class that every run reached: the highest of the levels that they ended at."""
    curves = [run.curve("new", "frechet_distance") for group in groups for run in group.runs]
    ends = [end_level(curve) for curve in curves if curve]
    return max(ends) if ends else None


def panels(groups: Sequence[Group]) -> dict[str, dict[str, Curves]]:
    """File name -> quantity -> curves, for the quantities that have values."""
    wanted = {
        "curve_distance": ("Fréchet distance to the new class", "new", "frechet_distance"),
        "curve_new": ("new class recognised in the slot, %", "new", "recognised"),
        "curve_old": ("old class left in the slot, %", "old", "left"),
        "curve_remaining": ("remaining labels recognised, %", "remaining", "recognised"),
        "curve_remaining_distance": ("Fréchet distance of the remaining labels", "remaining", "frechet_distance"),
    }
    by_file: dict[str, dict[str, Curves]] = {}
    for file, (quantity, part, figure) in wanted.items():
        scale = 100 if "%" in quantity else 1
        curves: dict[str, Mapping[int, Interval]] = {}
        for group in groups:
            values = group.curve(part, figure)
            if values:
                curves[group.name] = {step: tuple(scale * v for v in value) for step, value in values.items()}  # type: ignore[misc]
        if curves:
            by_file[file] = {quantity: curves}
    return by_file
