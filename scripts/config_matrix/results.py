"""The results file, and the table that is made of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from config_matrix.cells import CELLS
from rcas_plugin.files import atomic_path, write_json

Outcome = Literal["passed", "refused", "refused in error", "failed", "not run"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "refused", "refused in error", "failed", "not run")
WRONG: tuple[Outcome, ...] = ("failed", "refused in error")
MARKS: Mapping[Outcome, str] = {
    "passed": "✓",
    "refused": "refused",
    "refused in error": "**refused**",
    "failed": "**failed**",
    "not run": "-",
}


@dataclass(frozen=True)
class Result:
    """A cell of the table: how it came out, why where that is to be said, and the seconds it took by the clock and of a core."""

    outcome: Outcome
    why: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Results:
    """Config -> cell -> result, written to a file at every change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, dict[str, Result]] = {}
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            self._rows = {
                name: {cell: Result(**result) for cell, result in row.items()} for name, row in content["configs"].items()
            }

    def row(self, config: str) -> Mapping[str, Result]:
        return self._rows.get(config, {})

    def put(self, config: str, cell: str, result: Result) -> None:
        self._rows.setdefault(config, {})[cell] = result
        rows = {name: {key: asdict(result) for key, result in row.items()} for name, row in sorted(self._rows.items())}
        write_json(self.path, {"configs": rows})

    def forget(self, config: str, outcomes: Iterable[str]) -> None:
        """Leave out a config's cells of these outcomes, so that they run again."""
        self._rows[config] = {cell: result for cell, result in self.row(config).items() if result.outcome not in outcomes}

    def counts(self) -> Counter[str]:
        return Counter(result.outcome for row in self._rows.values() for result in row.values())

    def summary(self) -> str:
        """Configs, cells and outcomes in one line."""
        counts = self.counts()
        cells = sum(count for outcome, count in counts.items() if outcome != "not run")
        return (
            f"{len(self._rows)} configs, {cells} cells: {counts['passed']} passed, {counts['refused']} refused rightly, "
            f"{counts['refused in error']} refused in error, {counts['failed']} failed ({counts['not run']} not run)"
        )

    def write_table(self, path: Path) -> None:
        """The Markdown table beside the results: a row a config, a column a cell, then what went wrong and what was refused."""
        names = [cell.name for cell in CELLS]
        lines = ["# The grid of StudioGAN's configs", "", self.summary() + ".", ""]
        lines += [f"| config | {' | '.join(names)} | core seconds |", "| --- |" + " --- |" * (len(names) + 1)]
        for config, row in sorted(self._rows.items()):
            marks = [MARKS[row[name].outcome] if name in row else "" for name in names]
            lines.append(f"| {config} | {' | '.join(marks)} | {sum(result.cpu_seconds for result in row.values()):.0f} |")
        for title, outcomes in (("What went wrong", WRONG), ("What was refused", ("refused",))):
            lines += ["", f"## {title}", "", *self._reasons(outcomes)]
        with atomic_path(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _reasons(self, outcomes: Iterable[str]) -> list[str]:
        by_reason: dict[str, list[str]] = {}
        for config, row in sorted(self._rows.items()):
            for cell, result in row.items():
                if result.outcome in outcomes:
                    by_reason.setdefault(f"{result.outcome}, {cell}: {result.why}", []).append(config)
        return [f"- {reason} ({', '.join(configs)})" for reason, configs in sorted(by_reason.items())] or ["Nothing."]
