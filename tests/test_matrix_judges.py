"""The grid's judges: each is shown a result as it should be, and one that is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rcas_plugin.watch.snapshots import pixels_of

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    from config_matrix.site import Site

    return Site("CIFAR10/SNGAN", {"DATA": {}, "MODEL": {"g_cond_mtd": "cBN"}}, tmp_path / "work", tmp_path / "data", tmp_path)


def left_by_a_run(site: Any, cell: str, snapshots: dict[str, torch.Tensor], probe: torch.Tensor) -> None:
    """Snapshots of four labels, two images each, and what was seen at the run's start."""
    folder = site.folder(cell) / "checkpoints" / "run" / "snapshots"
    folder.mkdir(parents=True)
    for moment, images in snapshots.items():
        np.savez(folder / f"{moment}.npz", images=pixels_of(images), labels=np.repeat(np.arange(4), 2))
    torch.save({"images": probe}, site.probe(cell))


def test_other_labels_are_told_to_have_moved(site: Any) -> None:
    from config_matrix.judges import others_stay

    before = torch.linspace(-0.9, 0.9, 8 * 3 * 2 * 2).reshape(8, 3, 2, 2)
    start = before.reshape(4, 2, 3, 2, 2)
    swapped, drifted, still = before.clone(), before.clone(), start.clone()
    swapped[2:4] = -swapped[2:4]  # the slot's, label 1
    drifted[[2, 3, 7]] = 0.5
    left_by_a_run(site, "fine_tune", {}, start)
    left_by_a_run(site, "good", {"before": before, "reinit": swapped}, swapped.reshape_as(start))
    left_by_a_run(site, "drifts", {"before": before, "reinit": drifted}, drifted.reshape_as(start))
    still[3, 1, 0, 0, 0] += 1e-7  # less than a level of a snapshot
    left_by_a_run(site, "still", {"before": before, "reinit": before}, still)
    assert others_stay(site, "good") == ""
    assert others_stay(site, "drifts").startswith("snapshots of other labels moved by 0.0")
    assert "images of other labels moved by" in others_stay(site, "still")
    assert others_stay(site, "still").endswith("the preparation has not moved the slot's images")


def test_stage_bn_is_told_to_have_changed_more(site: Any) -> None:
    from config_matrix.judges import stage_bn_holds

    table, norm = "bn.gain.parametrizations.weight.original", "bn.gain.weight_u"
    start = {table: torch.zeros(3), norm: torch.ones(2), "steps": torch.tensor(4)}

    def judged(cell: str, **changes: torch.Tensor) -> str:
        folder = site.folder(cell) / "checkpoints" / "run"
        folder.mkdir(parents=True)
        torch.save({"states": {"G": start}}, site.probe(cell))
        torch.save({"state_dict": {**start, **changes}}, folder / "model=G-current-weights-step=2.pth")
        (folder / "model=D-current-weights-step=2.pth").touch()
        return stage_bn_holds(site, cell)

    assert judged("good", **{table: torch.ones(3)}) == ""
    assert judged("idle") == "G: nothing has changed"
    changed = judged("more", **{table: torch.ones(3), norm: torch.tensor([1.0, 1.5]), "steps": torch.tensor(5)})
    assert changed == f"G: 2 tensors that are no scores and tables have changed, such as {norm} by 0.5, steps by 1"
