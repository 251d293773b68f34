"""Proves the stacks that the wheel works with: each in a fresh environment, with the fast tests and a real swap.

For each stack: an environment is made with that Python; what its user has is installed first (torch, torchvision, numpy), then
this project's wheel, which must leave those as they are; then the fast tests run against the installed wheel, and a swap from
pre-training to report, through StudioGAN's main.py where the submodule is there, else on the embedded networks.

What is made is kept and used again: environments under --out (delete one's folder to make it anew), results until the package or
the tests change. It ends with a table and, over all stacks, docs/results/stacks.json; --write-page puts the table into
docs/guide/stacks.md. Exit code 1 where anything failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcas_plugin import RcasError
from rcas_plugin.files import atomic_path, write_json
from rcas_plugin.watch.machine import describe_run

ROOT = Path(__file__).resolve().parents[1]
LOWEST = ROOT / "scripts" / "stacks.lowest.txt"
RESULTS = ROOT / "docs" / "results" / "stacks.json"
#: The page that shows them, between two marks.
PAGE = ROOT / "docs" / "guide" / "stacks.md"
STUDIOGAN = ROOT / "third_party" / "PyTorch-StudioGAN"
TOOLS = (
    "pytest>=8,<10",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "tensorboard>=2.19",
    "jsonschema>=4.20,<5",
    "hatchling>=1.27,<2",
)
SHOWN = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "matplotlib",
    "pydantic",
    "h5py",
    "timm",
    "kornia",
    "wandb",
)
#: What the tests look at, beside the wheel.
BESIDE = (
    "tests",
    "scripts",
    "configs",
    "docs",
    "patches",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
    "pyproject.toml",
)
#: What old libraries say of themselves is none of this project's; every other warning stays an error.
WARNINGS = ("-Wignore::DeprecationWarning", "-Wignore::PendingDeprecationWarning", "-Wignore::FutureWarning")


@dataclass(frozen=True)
class Stack:
    """What a user has: a Python, and what was installed before this project."""

    python: str
    user: tuple[str, ...]
    constraints: Path | None = None


STACKS: dict[str, Stack] = {
    "lowest": Stack("3.10", ("torch==2.4.0", "torchvision==0.19.0", "numpy==1.26.0"), LOWEST),
    "torch-2.4": Stack("3.11", ("torch==2.4.1", "torchvision==0.19.1", "numpy==2.1.3", "scikit-learn==1.6.1", "pandas==2.3.3")),
    "torch-2.7": Stack("3.12", ("torch==2.7.1", "torchvision==0.22.1", "numpy==2.2.6")),
    "newest-3.11": Stack("3.11", ("torch", "torchvision", "numpy")),
    "newest-3.13": Stack("3.13", ("torch", "torchvision", "numpy")),
}


def interpreter(version: str) -> str:
    """The command of a Python of this version.

    Raises:
        RcasError: there is none on PATH and none of pyenv's.
    """
    command = shutil.which(f"python{version}")
    # a shim of pyenv's may be there for a version that is switched off
    if command and subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0:
        return command
    for path in sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"), reverse=True):
        return str(path)
    raise RcasError(f"there is no Python {version} here")


def build_wheel(folder: Path) -> Path:
    """Build this project's wheel; an older one goes."""
    shutil.rmtree(folder, ignore_errors=True)
    say("building the wheel")
    _run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-cache-dir", "-w", folder, ROOT],
        folder.parent / "wheel.log",
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def fingerprint(wheel: Path, stack: Stack) -> str:
    """Of all that a result depends on: the package, what it requires, the tests, this program and the stack."""
    digest = hashlib.sha256(repr(stack).encode())
    with zipfile.ZipFile(wheel) as archive:
        # not what is about the package: the README is in it
        for name in sorted(name for name in archive.namelist() if ".dist-info/" not in name):
            digest.update(archive.read(name))
    for path in sorted([ROOT / "pyproject.toml", *(ROOT / "tests").rglob("*.py"), *(ROOT / "scripts").glob("stacks*")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def prove(name: str, wheel: Path, out: Path, *, again: bool) -> dict[str, Any]:
    """Return a stack's row: made, installed, tested; from its file where nothing has changed since."""
    stack, folder = STACKS[name], out / name
    file, key = out / f"{name}.json", fingerprint(wheel, stack)
    if file.is_file() and not again:
        row: dict[str, Any] = json.loads(file.read_text())
        if row["fingerprint"] == key and not failed(row):
            say(f"{name}: nothing has changed since it passed")
            return row
    start = time.perf_counter()
    row = {"name": name, "fingerprint": key, "python": stack.python}
    try:
        environment = Environment(name, stack, folder)
        row |= {"before": environment.make()}
        row |= {"versions": environment.install(wheel)}
        row |= {"kept": {package: row["versions"][package] == version for package, version in row["before"].items()}}
        row |= {"tests": environment.test(), "swap": environment.swap()}
    except RcasError as error:
        row |= {"error": str(error)}
        say(f"{name}: {error}")
    row |= {"seconds": round(time.perf_counter() - start)}
    write_json(file, row)
    return row


class Environment:
    """A virtual environment of one stack, its logs beside it."""

    def __init__(self, name: str, stack: Stack, folder: Path) -> None:
        self.name, self.stack, self.folder = name, stack, folder
        self.python = folder / "bin" / "python"
        constraints = ["-c", str(stack.constraints)] if stack.constraints else []
        self.pip = [self.python, "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", *constraints]

    def make(self) -> dict[str, str]:
        """Make it with what its user has, unless it is there with just that; returns the versions of torch and numpy."""
        stamp = self.folder / "made.json"
        made = {"python": self.stack.python, "user": list(self.stack.user)}
        if not (stamp.is_file() and (found := json.loads(stamp.read_text()))["made"] == made):
            say(f"{self.name}: a Python {self.stack.python} with {', '.join(self.stack.user)} (some GB)")
            shutil.rmtree(self.folder, ignore_errors=True)
            _run([interpreter(self.stack.python), "-m", "venv", self.folder], self._log("venv"))
            _run([*self.pip, *self.stack.user], self._log("user"))
            versions = self.versions()
            found = {"made": made, "versions": {name: versions[name] for name in ("torch", "torchvision", "numpy")}}
            write_json(stamp, found)
        return dict(found["versions"])

    def install(self, wheel: Path) -> dict[str, str]:
        """Install the wheel as a user does; returns the versions of what matters."""
        say(f"{self.name}: installing the wheel")
        _run([self.python, "-m", "pip", "uninstall", "-q", "-y", "rcas-plugin"], self._log("uninstall"))
        _run([*self.pip, wheel], self._log("wheel"))
        versions = self.versions()
        _run([*self.pip, *TOOLS], self._log("tools"))
        return {name: versions[name] for name in SHOWN}

    def versions(self) -> dict[str, str]:
        """Version of each package that is installed."""
        code = (
            "import importlib.metadata as m, json; "
            "print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}))"
        )
        return dict(json.loads(_run([self.python, "-c", code], self._log("versions"))))

    def test(self) -> dict[str, int]:
        """Run the fast tests against the wheel; how many passed, failed and were skipped."""
        say(f"{self.name}: the fast tests")
        work, log = self._elsewhere(), self._log("tests")
        for name in BESIDE:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, work / name)
        command = [self.python, "-m", "pytest", *WARNINGS, "-m", "not slow", "-q", "-p", "no:cacheprovider"]
        last = _run(command, log, work, check=False).strip().splitlines()[-1]
        counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
        if not counts.get("passed"):
            raise RcasError(f"the fast tests did not run; see {log}")
        return {
            "passed": counts["passed"],
            "failed": counts.get("failed", 0) + counts.get("error", 0),
            "skipped": counts.get("skipped", 0),
        }

    def swap(self) -> str:
        """Pre-train and swap a class; how it went."""
        say(f"{self.name}: a swap")
        work = self._elsewhere()
        studiogan = [STUDIOGAN] if (STUDIOGAN / "src" / "main.py").is_file() else []
        said = _run(
            [self.python, ROOT / "scripts" / "stacks_swap.py", work / "swap", *studiogan], self._log("swap"), work, check=False
        )
        results = [line for line in said.splitlines() if line in {"main.py", "embedded"} or line.startswith("failed")]
        return results[-1] if results else f"failed: see {self._log('swap').name}"

    def _elsewhere(self) -> Path:
        """An empty folder to run in, so that the clone is not what is imported."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        return work

    def _log(self, what: str) -> Path:
        return self.folder.parent / f"{self.name}.{what}.log"


def _run(command: Sequence[object], log: Path, folder: Path | None = None, *, check: bool = True) -> str:
    """Run a command, its output in a log; returns what it said.

    Raises:
        RcasError: it failed and is checked.
    """
    leave = {"PYTHONPATH", "STUDIOGAN_ROOT", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in leave}
    environment |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
    if (STUDIOGAN / "src" / "main.py").is_file():
        environment["STUDIOGAN_ROOT"] = str(STUDIOGAN)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        ended = subprocess.run(
            [str(part) for part in command], stdout=file, stderr=subprocess.STDOUT, check=False, env=environment, cwd=folder
        )
    if check and ended.returncode:
        raise RcasError(f"{' '.join(map(str, command[1:4]))} failed; see {log}")
    return log.read_text()


def failed(row: Mapping[str, Any]) -> bool:
    """Whether anything of a stack's row is not as it should be."""
    return "error" in row or bool(row["tests"]["failed"]) or row["swap"].startswith("failed") or not row["kept"]["torch"]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| Python | torch | numpy | scikit-learn, pandas, pydantic | torch left as it was | "
        "fast tests: passed, failed, skipped | a swap | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['python']} | {row['name']}: {row['error']} | | | | | | {row['seconds']} |")
            continue
        versions, tests = row["versions"], row["tests"]
        others = ", ".join(versions[name] for name in ("scikit-learn", "pandas", "pydantic"))
        kept = "yes" if row["kept"]["torch"] else f"no, it was {row['before']['torch']}"
        counts = f"{tests['passed']}, {tests['failed']}, {tests['skipped']}"
        lines.append(
            f"| {row['python']} | {versions['torch']} | {versions['numpy']} | {others} | {kept} | {counts} | {row['swap']} "
            f"| {row['seconds']} |"
        )
    return "\n".join(lines)


def write_page(text: str, path: Path = PAGE) -> None:
    """Put the table between the two marks of its page."""
    start, end = "<!-- stacks -->\n", "<!-- /stacks -->"
    content = path.read_text(encoding="utf-8")
    before, _, rest = content.partition(start)
    with atomic_path(path) as temporary:
        temporary.write_text(f"{before}{start}{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/stacks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(f"{name} (Python {stack.python})" for name, stack in STACKS.items())
    parser.add_argument("stacks", nargs="*", metavar="STACK", help=f"which ones (default: all): {names}")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "outputs" / "stacks", help="for environments and logs (default: %(default)s)"
    )
    parser.add_argument("--again", action="store_true", help="test again what has not changed since it passed")
    parser.add_argument(
        "--delete", action="store_true", help="delete each environment once its row is there (they have some GB each)"
    )
    parser.add_argument("--write-page", action="store_true", help="put the table into docs/guide/stacks.md")
    args = parser.parse_args()
    if wrong := [name for name in args.stacks if name not in STACKS]:
        parser.error(f"no such stack: {wrong[0]}; there are: {', '.join(STACKS)}")
    out = args.out.resolve()
    wheel = build_wheel(out / "wheel")
    rows = []
    for name in args.stacks or STACKS:
        rows.append(prove(name, wheel, out, again=args.again))
        if args.delete:
            shutil.rmtree(out / name, ignore_errors=True)
    if not args.stacks:
        write_json(RESULTS, {**describe_run(), "stacks": rows})
    say("\n" + table(rows))
    if args.write_page:
        write_page(table(rows))
    return int(any(failed(row) for row in rows))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except RcasError as stopped:
        print(f"scripts/stacks: error: {stopped}", file=sys.stderr)
        raise SystemExit(2) from None
