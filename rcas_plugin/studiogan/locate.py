"""The location of StudioGAN and its commit."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from rcas_plugin.errors import RcasError
from rcas_plugin.repository import ROOT, is_clone

PINNED_COMMIT = "947b35e9835b67860fdce44d337f6d7fee7c8db3"
REPOSITORY = ROOT
SUBMODULE = REPOSITORY / "third_party" / "PyTorch-StudioGAN"


def add_studiogan(command: argparse.ArgumentParser) -> None:
    """Add `--studiogan` to a command of `rcas`."""
    command.add_argument("--studiogan", type=Path, default=None, metavar="PATH",
                         help="a StudioGAN elsewhere, as STUDIOGAN_ROOT does; by default the submodule")  # fmt: skip


def candidates(given: str | Path | None = None) -> list[Path]:
    """The folders to look for StudioGAN in: `given`; else STUDIOGAN_ROOT; else the clone's submodule and the working folder."""
    if given is not None:
        return [Path(given)]
    if os.environ.get("STUDIOGAN_ROOT"):
        return [Path(os.environ["STUDIOGAN_ROOT"])]
    return [SUBMODULE, Path.cwd()] if is_clone() else [Path.cwd()]


def find_studiogan(given: str | Path | None = None) -> Path:
    """The root folder of a StudioGAN (it holds `src/main.py`).

    Raises:
        RcasError: there is none.
    """
    looked = candidates(given)
    for root in looked:
        if (root / "src" / "main.py").is_file() and (root / "src" / "loader.py").is_file():
            return root.resolve()
    fetch = "run: git submodule update --init --depth 1, or " if is_clone() else ""
    raise RcasError(f"no StudioGAN in {' or '.join(map(str, looked))}; {fetch}give one with --studiogan PATH or STUDIOGAN_ROOT")


def commit_of(root: Path) -> str | None:
    """The commit that a StudioGAN is checked out at, or None where it is no git checkout of its own."""
    if not (root / ".git").exists():
        return None
    try:
        shown = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.strip()


def main_command(root: Path, *options: str) -> list[str]:
    """The command that runs a StudioGAN's main.py under this plugin, through its patch where that is installed."""
    from rcas_plugin.studiogan.patching import is_installed

    main = str(root / "src" / "main.py")
    if is_installed(root):
        return [sys.executable, main, "--plugin", "rcas", *options]
    return [sys.executable, "-m", "rcas_plugin.studiogan", main, "--plugin", "rcas", *options]
