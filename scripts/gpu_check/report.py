"""What a part found out, and the results file: written whole after each part, so that a run that is cut keeps what it has."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcas_plugin.files import write_json


@dataclass
class Report:
    """One part's figures as they come.

    Attributes:
        file: where they go.
        figures: numbers and words by name.
        wrong: a sentence for each thing that is not as it should be; the part has passed where there is none.
    """

    file: Path
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def put(self, name: str, value: Any) -> None:
        """Add a figure, and write all that there are."""
        self.figures[name] = value
        self.write()

    def check(self, holds: bool, sentence: str) -> None:
        """Note what is wrong, unless it holds."""
        if not holds:
            self.wrong.append(sentence)
            self.write()

    def write(self) -> None:
        write_json(self.file, {"figures": self.figures, "wrong": self.wrong})


def read_part(file: Path) -> dict[str, Any]:
    """What a part has written until it ended, or was ended."""
    if not file.is_file():
        return {"figures": {}, "wrong": []}
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
