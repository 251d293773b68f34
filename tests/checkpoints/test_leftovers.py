"""Which folders a start clears of what killed processes have left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rcas_plugin.checkpoints.leftovers import clear_leftovers


def test_a_start_clears_the_folders_that_are_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """S4: leftovers go from the -save folder, its caches, its runs and the data; a checkpoint that is only read keeps them."""
    places = [".", "domain", "moments", "feats", "figures/x", "statistics/x", "checkpoints/x", "checkpoints/x/snapshots",
              "checkpoints/x/report", "data", "mine"]  # fmt: skip
    spared = ["checkpoints/source", "checkpoints/source/snapshots"]
    made = {}
    for place in (*places, *spared):
        made[place] = tmp_path / place / ".rcas-part-abcd1234.pth"
        made[place].parent.mkdir(parents=True, exist_ok=True)
        made[place].touch()
        os.utime(made[place], (0, 0))
    clear_leftovers(tmp_path, tmp_path / "data", None, spare=tmp_path / "checkpoints" / "source")
    assert sorted(place for place, path in made.items() if path.exists()) == sorted([*spared, "mine"])
    assert capsys.readouterr().out.startswith("rcas: removed 10 half-written files of interrupted runs")
    clear_leftovers(tmp_path)
    assert [place for place, path in made.items() if path.exists()] == ["mine"], "no source is spared where none is read"
