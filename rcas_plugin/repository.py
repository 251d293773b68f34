"""The place that this package is imported from: a clone of its repository, or an installed wheel."""

from __future__ import annotations

import subprocess
from pathlib import Path

#: The clone's folder; for an installed wheel the folder that holds all packages, which is none of this project's.
ROOT = Path(__file__).resolve().parents[1]

_PATCH = Path("patches", "main.py.patch")


def is_clone(root: Path = ROOT) -> bool:
    """True where the package lies in a clone; a wheel has the patches inside of the package."""
    return (root / _PATCH).is_file()


def patch_file(root: Path = ROOT) -> Path:
    """The patch of upstream's main.py: the clone's, or the wheel's."""
    return root / _PATCH if is_clone(root) else root / "rcas_plugin" / _PATCH


def commit(root: Path = ROOT) -> str | None:
    """The clone's commit, with `-dirty` behind it where files differ; None for a wheel, in whatever repository that lies."""
    if not (is_clone(root) and (root / ".git").exists()):
        return None
    try:
        shown = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.strip()
