"""What every part is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setup:
    """How the parts are run.

    Attributes:
        device: `cuda` or `cpu`.
        reduced: so small that a rehearsal on a CPU takes seconds; processes are forked then, and need not import all anew.
        work: a folder for whatever the parts write; the results are not in it.
        jobs: runs that go side by side where no time is taken.
    """

    device: str
    reduced: bool
    work: Path
    jobs: int
