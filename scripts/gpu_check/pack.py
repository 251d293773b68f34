"""A folder to bring along: wheels of what is missing on a machine without a network, and StudioGAN's sources."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gpu_check.requirements import MODULES
from rcas_plugin import RcasError
from rcas_plugin.studiogan.locate import find_studiogan

#: The most that the folder may hold, in MiB.
LIMIT = 64
#: Names of the platform that wheels are published under, from the newest C library to the oldest.
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1", "linux")


def pack(folder: Path, missing: Iterable[str], python: str, machine: str = "x86_64") -> list[str]:
    """Fill the folder anew; returns the names of the wheels.

    Versions are those of this environment, in which all work together.

    Args:
        folder: made anew.
        missing: distributions of `requirements.MODULES` that the machine lacks; the others, and what they need, are there.
        python: its version, such as 3.12.
        machine: its processor.

    Raises:
        RcasError: a name is none of the requirements, a wheel cannot be had, or the folder is too large.
    """
    wanted = set(map(canonicalize_name, missing))
    if unknown := sorted(wanted - MODULES.keys()):
        raise RcasError(f"--missing: {unknown[0]} is none of the requirements; allowed: {', '.join(sorted(MODULES))}")
    names = needed(wanted, python) - needed(MODULES.keys() - wanted, python)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _download(folder, sorted(f"{name}=={importlib.metadata.version(name)}" for name in names), python, machine)
    source = find_studiogan() / "src"
    shutil.copytree(source, folder / "PyTorch-StudioGAN" / "src", ignore=shutil.ignore_patterns("__pycache__"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    if size > LIMIT:
        raise RcasError(f"--missing: {folder} holds {size:.0f} MiB, and {LIMIT} may be brought along; name fewer packages")
    return sorted(path.name for path in folder.glob("*.whl"))


def needed(names: Iterable[str], python: str) -> set[str]:
    """The distributions and all that they require, as far as this environment has them."""
    found: set[str] = set()
    rest = list(map(canonicalize_name, names))
    about = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    while rest:
        name = rest.pop()
        if name in found:
            continue
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # required on another platform, or by an older Python
        found.add(name)
        requirements = map(Requirement, lines)
        rest += [canonicalize_name(one.name) for one in requirements if one.marker is None or one.marker.evaluate(about)]
    return found


def _download(folder: Path, pinned: list[str], python: str, machine: str) -> None:
    if not pinned:
        return
    platforms = [part for name in PLATFORMS for part in ("--platform", f"{name}_{machine}")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--only-binary=:all:", "--python-version", python, "--implementation", "cp", *platforms, "-d", str(folder),
               *pinned]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["pip said nothing"]
        raise RcasError(f"--pack: the wheels cannot be had ({lines[-1]}); see that there is a network, and a wheel for --python")
