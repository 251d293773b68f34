"""Files are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rcas_plugin.files import atomic_path, write_json


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
