"""The patch: in, out byte for byte, refused for any other file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rcas_plugin import RcasError, repository
from rcas_plugin.studiogan import patching

PATCH = b"--- a/x\n+++ b/x\n@@ -1,0 +2,2 @@\n+one\n+two\n@@ -3,0 +6 @@\n+three\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    original = b"a\r\nb\nc\nd"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_bytes(original)
    (tmp_path / "x.patch").write_bytes(PATCH)
    monkeypatch.setattr(patching, "PATCH", tmp_path / "x.patch")
    monkeypatch.setattr(patching, "PINNED_SHA256", hashlib.sha256(original).hexdigest())
    return tmp_path


def test_in_and_out(root: Path) -> None:
    main = root / "src" / "main.py"
    main.chmod(0o755)
    assert patching.install(root)
    assert main.read_bytes() == b"a\r\none\ntwo\nb\nc\nthree\nd"
    assert patching.is_installed(root)
    assert not patching.install(root), "a second time changes nothing"
    assert patching.uninstall(root)
    assert main.read_bytes() == b"a\r\nb\nc\nd"
    assert main.stat().st_mode & 0o777 == 0o755
    assert not patching.uninstall(root)


def test_another_file_is_refused_and_left_alone(root: Path) -> None:
    main = root / "src" / "main.py"
    main.write_bytes(b"a\nb\nother\n")
    for action in (patching.install, patching.uninstall):
        with pytest.raises(RcasError):
            action(root)
    assert main.read_bytes() == b"a\nb\nother\n"


def test_a_change_on_top_of_the_patch_is_not_lost(root: Path) -> None:
    patching.install(root)
    main = root / "src" / "main.py"
    edited = main.read_bytes() + b"mine"
    main.write_bytes(edited)
    with pytest.raises(RcasError, match="left alone"):
        patching.uninstall(root)
    assert main.read_bytes() == edited


def test_a_patch_may_only_add() -> None:
    with pytest.raises(RcasError, match="may add lines only"):
        patching.added_lines(b"@@ -1,0 +2 @@\n-gone\n")


def test_the_patch_of_the_repository_adds_lines_alone() -> None:
    hunks = patching.added_lines(repository.patch_file().read_bytes())
    assert sorted(hunks) == [13, 29]
    assert all(lines for lines in hunks.values())
