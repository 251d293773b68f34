"""What the wheel holds, and that it works where there is no clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rcas_plugin import repository

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    if not (ROOT / "rcas_plugin").is_dir():
        pytest.skip("there is no clone here to build the wheel from")
    for needed in ("hatchling", "packaging.licenses"):
        pytest.importorskip(needed, reason="the wheel's build backend is not here; pip install -e '.[dev]' brings it")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, ROOT]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def git(folder: Path, *options: str) -> None:
    known = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *known, *options], check=True, capture_output=True)


def test_it_holds_what_is_no_module_and_nothing_of_others(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("rcas_plugin/patches/main.py.patch") == (ROOT / "patches" / "main.py.patch").read_bytes()
        (points,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    assert {"rcas_plugin/py.typed", "rcas_plugin/report/page.html"} <= names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "rcas_plugin").rglob("*.py")}
    assert modules <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"rcas_plugin"}
    assert "rcas = rcas_plugin.cli:main" in points
    assert "[studiogan.plugins]" in points


@pytest.mark.slow
def test_it_works_without_a_clone(wheel: Path, tmp_path: Path) -> None:
    """The patch is the wheel's own, no submodule is looked for, and no commit of another repository is taken for the plugin's."""
    site = tmp_path / "environment" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "of somebody else")
    code = """
import json
from pathlib import Path
from rcas_plugin import RcasError, repository
from rcas_plugin.watch.machine import describe_run
from rcas_plugin.studiogan import locate, patching
try:
    locate.find_studiogan()
except RcasError as error:
    sentence = str(error)
lines = sorted(patching.added_lines(patching.PATCH.read_bytes()))
print(json.dumps([repository.__file__, describe_run()["commit"], lines, sentence]))
"""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    environment.pop("STUDIOGAN_ROOT", None)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    file, commit, lines, sentence = json.loads(ended.stdout)
    assert Path(file).parents[1] == site
    assert commit is None
    assert lines == [13, 29]
    assert "submodule" not in sentence
    assert "--studiogan" in sentence


def test_the_commit_is_the_clones(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "patches").mkdir()
    assert repository.commit(tmp_path) is None, "a repository that is no clone of this project"
    assert repository.patch_file(tmp_path) == tmp_path / "rcas_plugin" / "patches" / "main.py.patch"
    (tmp_path / "patches" / "main.py.patch").write_text("")
    assert repository.commit(tmp_path) is None, "a clone without a commit"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x")
    clean = repository.commit(tmp_path)
    assert clean is not None
    assert len(clean) == 12
    (tmp_path / "patches" / "main.py.patch").write_text("changed")
    assert repository.commit(tmp_path) == f"{clean}-dirty"
    assert repository.patch_file(tmp_path) == tmp_path / "patches" / "main.py.patch"
