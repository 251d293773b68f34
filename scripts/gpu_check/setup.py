"""What every part is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setup:
    """How the parts are run.

    Attributes:
        device: `cuda` or `cpu`.
        reduced: so small that a rehearsal on a CPU takes seconds.
        work: a folder for whatever the parts write; the results are not in it.
        jobs: runs that go side by side where no time is taken.
    """

    device: str
    reduced: bool
    work: Path
    jobs: int

    def dump(self) -> str:
        return json.dumps({**asdict(self), "work": str(self.work)})

    @classmethod
    def parse(cls, text: str) -> Setup:
        content = json.loads(text)
        return cls(**{**content, "work": Path(content["work"])})
