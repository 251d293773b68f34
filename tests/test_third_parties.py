"""Packages of third parties: loaded when they are asked for; a broken one takes its own methods away and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GOOD = """
from pydantic import Field

from rcas_plugin.methods.base import Method
from rcas_plugin.registry import phases
from rcas_plugin.settings import CommonSettings

assert "class_swap" in phases and len(phases) >= 3

class TheirSettings(CommonSettings):
    strength: float = Field(0.5, ge=0, description="of theirs")

@phases.register("theirs")
class Theirs(Method):
    Settings = TheirSettings
    presets = {"theirs": {"strength": 0.25}}
"""


def offer(folder: Path, package: str, code: str, target: str = "") -> None:
    """A package in a folder as if it were installed there, with an entry point of the group."""
    (folder / f"{package}.py").write_text(code)
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[rcas_plugin.methods]\n{package}_point = {target or package}\n")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(folder)])
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": path})  # fmt: skip


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder with a package that works, and four that do not."""
    offer(tmp_path, "works_well", GOOD)
    offer(tmp_path, "cannot_import", "import no_such_module")
    offer(tmp_path, "exits", "raise SystemExit(3)")
    offer(tmp_path, "takes_a_name", "from rcas_plugin.registry import phases; phases.register('class_swap')(object)")
    offer(tmp_path, "names_nothing", "", "no module: at all")
    return tmp_path


@pytest.mark.slow
def test_a_broken_package_breaks_nothing_else(broken: Path) -> None:
    """D6: the plugin is imported without third parties; one that fails is a sentence where its name is asked for."""
    code = """
import sys
import rcas_plugin
from rcas_plugin.registry import adapters, methods
from rcas_plugin.settings import parse_settings
assert methods["class_swap"].__name__ == "ClassSwap"
assert not {"cannot_import", "exits", "works_well"} & set(sys.modules), "nobody has asked for a name of theirs"
assert methods["theirs"].__name__ == "Theirs"
assert methods["class_swap"].__name__ == "ClassSwap"
assert {"class_swap", "theirs"} < set(methods)
for ask in (methods.__getitem__, lambda name: parse_settings({"method": name, "swap": {0: 1}}), adapters.__getitem__):
    try:
        ask("nobodys")
    except rcas_plugin.RcasError as error:
        print(error)
"""
    ended = run(broken, "-c", code)
    assert ended.returncode == 0, ended.stderr
    sentences = ended.stdout.splitlines()
    assert len(sentences) == 3
    known = "bn_propagation, class_swap, feature_replay, fine_tune, gan_memory, piggyback, theirs"
    assert sentences[0].startswith(f"there is no method 'nobodys'; there are: {known}; ")
    assert sentences[1].startswith(f"RCAS.method: 'nobodys' is unknown; allowed: {known}; ")
    for sentence in sentences:
        assert "cannot_import_point of the package cannot_import could not be loaded" in sentence
        assert "ModuleNotFoundError: No module named 'no_such_module'" in sentence
        assert "exits_point of the package exits could not be loaded" in sentence
        assert "the method 'class_swap' is registered already" in sentence
        assert "names_nothing_point of the package names_nothing could not be loaded from no module: at all" in sentence
        assert "works_well" not in sentence


@pytest.mark.slow
def test_the_commands_go_on(broken: Path) -> None:
    """D6: rcas config works, and rcas doctor lists each package as there or broken."""
    config = run(broken, "-m", "rcas_plugin.cli", "config")
    assert config.returncode == 0, config.stderr
    assert "RCAS.method" in config.stdout
    keys = [line.split()[:2] for line in config.stdout.partition("# method: theirs\n")[2].splitlines()]
    assert keys[:2] == [["RCAS.share", "0.0"], ["RCAS.retain", "0.0"]], "other defaults than class_swap's"
    assert "RCAS.strength                        0.25         of theirs" in config.stdout
    doctor = run(broken, "-m", "rcas_plugin.cli", "doctor").stdout
    assert "works_well_point of works_well: there" in doctor
    assert "cannot_import_point of cannot_import: BROKEN: ModuleNotFoundError: No module named 'no_such_module'" in doctor
    assert "exits_point of exits: BROKEN: SystemExit: 3" in doctor
    swap = run(broken, "-m", "rcas_plugin.cli", "swap", "--help")
    assert swap.returncode == 0, swap.stderr
