"""Files are whole or not there, names are never paths, and what was left half-written goes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rcas_plugin.files import atomic_path, is_plain_name, remove_leftovers, safe_stem, temporary_folder, write_json


def age(*paths: Path, seconds: float = 7200) -> None:
    """Make files as old as if an earlier process had written them."""
    for path in paths:
        moment = path.stat().st_mtime - seconds
        os.utime(path, (moment, moment))


def python(code: str, folder: Path) -> subprocess.Popen[str]:
    """A process of its own in a folder."""
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    write_json(target, {"a": 1})
    with pytest.raises(UnicodeEncodeError), atomic_path(target) as temporary:
        temporary.write_text("half \ud800")
    assert json.loads(target.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [target]


def test_folders_are_made_and_others_may_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", [1])
    assert (tmp_path / "a" / "b.json").stat().st_mode & 0o044


def test_a_temporary_folder_goes_whatever_is_in_it(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as folder:
        (folder / "a").mkdir()
        (folder / "a" / "b").touch()
    assert not list(tmp_path.iterdir())


# leftovers ------------------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal
from rcas_plugin.files import atomic_path, temporary_folder
with temporary_folder(".") as folder, atomic_path("model.pth") as temporary:
    (folder / "part").write_text("half")
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
WAITS = """
from rcas_plugin.files import atomic_path, temporary_folder
with temporary_folder(".") as folder, atomic_path("model.pth") as temporary:
    temporary.write_text("whole")
    print("ready", flush=True)
    input()
"""
CLEANS = "from rcas_plugin.files import remove_leftovers; print(len(remove_leftovers('.')))"


@pytest.mark.slow
def test_the_next_start_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    """S4: the temporary file and folder of a writer that was killed are gone after the next start; the old file is whole."""
    (tmp_path / "model.pth").write_text("old")
    killed = python(KILLED, tmp_path)
    killed.communicate()
    assert killed.returncode == -9
    assert len(list(tmp_path.iterdir())) == 3, "the file, and what was left"
    assert python(CLEANS, tmp_path).communicate()[0] == "2\n"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    assert (tmp_path / "model.pth").read_text() == "old"


@pytest.mark.slow
def test_what_a_live_process_writes_stays(tmp_path: Path) -> None:
    """S4: a file that another process is writing is not taken for a leftover, however old it looks."""
    writer = python(WAITS, tmp_path)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    age(*tmp_path.iterdir())
    assert python(CLEANS, tmp_path).communicate()[0] == "0\n"
    assert len(list(tmp_path.iterdir())) == 2
    writer.communicate("\n")
    assert writer.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    assert (tmp_path / "model.pth").read_text() == "whole"


def test_leftovers_of_earlier_versions_go_by_their_age(tmp_path: Path) -> None:
    """S4: what versions before this one left is known by its name, and goes once nobody has written to it for an hour."""
    names = [".model=G-current-weights-step=100.pth.ab_3de01.pth", ".rcas.json.zzzzzzzz.json", ".canvas.png.00000000.png"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".hdf5-abcd1234").mkdir()
    (tmp_path / ".hdf5-abcd1234" / "toy.hdf5").touch()
    old = [*map(tmp_path.joinpath, names), tmp_path / ".hdf5-abcd1234"]
    age(*old)
    assert set(remove_leftovers(tmp_path)) == set(old[:-1]), "the folder holds a file of this moment"
    age(tmp_path / ".hdf5-abcd1234", tmp_path / ".hdf5-abcd1234" / "toy.hdf5")
    assert remove_leftovers(tmp_path) == [tmp_path / ".hdf5-abcd1234"]
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """S4: nothing but the very names that this package makes goes, and no link."""
    names = [".rcas-part-abc", ".rcas-part-abcd1234.tar.gz", "rcas-part-abcd1234.pth", ".rcas-part-ABCD1234",
             ".hdf5-mine", ".notes.txt.backup12.txt", ".bashrc.abcd1234", "model.pth.abcd1234.pth", ".a.pth.abcd1234.json",
             "rcas.json"]  # fmt: skip
    kept = [tmp_path / name for name in names]
    for path in kept:
        path.touch()
    age(*kept)
    (tmp_path / ".rcas-part-aaaaaaaa").symlink_to(tmp_path / "rcas.json")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".rcas-part-abcd1234.pth").touch()
    age(tmp_path / "sub" / ".rcas-part-abcd1234.pth")
    assert remove_leftovers(tmp_path, tmp_path / "nowhere", tmp_path / "rcas.json") == []
    assert {path.name for path in tmp_path.iterdir()} == {*names, ".rcas-part-aaaaaaaa", "sub"}
    assert remove_leftovers(tmp_path / "sub") == [tmp_path / "sub" / ".rcas-part-abcd1234.pth"]


# names ----------------------------------------------------------------------------------------------------------------------

HOSTILE = ["../elsewhere/x", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "C:\\x", "a\x00b", "x" * 5000, "con", "NUL", "Com1",
           "lpt9", ".hidden", "-rf", "a\nb", "中文", "\ud800", "a b", "name.", "~root", "$HOME", "a:b", "*"]  # fmt: skip


@pytest.mark.parametrize("text", [*HOSTILE, 3, None, ["a"], {"a": 1}, True])
def test_a_stem_of_any_text_is_a_name_and_no_path(text: object, tmp_path: Path) -> None:
    """S2: whatever a file says, what is made of it is a short plain name in the folder that it is put into."""
    stem = safe_stem(text)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", stem)
    assert stem.lower() not in {"con", "nul", "com1", "lpt9"}
    (tmp_path / stem).touch()
    assert [path.name for path in tmp_path.iterdir()] == [stem]


def test_good_stems_stay_and_others_are_told_apart() -> None:
    assert [safe_stem(name) for name in ("class_swap", "bn_propagation", "my-method2")] == [
        "class_swap",
        "bn_propagation",
        "my-method2",
    ]
    assert safe_stem("../elsewhere/x").startswith("elsewhere_x-")
    assert len({safe_stem(name) for name in HOSTILE}) == len(HOSTILE)


def test_plain_names() -> None:
    """S2: a run's or a data set's name may be any that one file can have, and no path."""
    assert all(is_plain_name(name) for name in ("CIFAR10-BigGAN-train-2026_11_25", "my data", "Größe", ".x", "a..b"))
    for text in ("", ".", "..", "a/b", "/a", "a\\b", "a\x00", "a\nb", "x" * 201, None, 3):
        assert not is_plain_name(text)
