"""The classifier of the user's own data: trained once, read again, its accuracy said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from rcas_plugin.metrics import domain as module
from rcas_plugin.metrics.domain import domain, features_of, to_unit_range

pytestmark = pytest.mark.usefixtures("short_runs")


class Squares(Dataset[Any]):
    """Gray squares of three brightnesses, as uint8; counts how often an image is read."""

    def __init__(self) -> None:
        self.read = 0
        self.targets = [index % 3 for index in range(60)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.read += 1
        noise = torch.randint(0, 20, (3, 16, 16), generator=torch.Generator().manual_seed(index))
        return (noise + 80 * self.targets[index]).to(torch.uint8), -1


def test_it_is_trained_once_and_says_what_it_is_worth(tmp_path: Path) -> None:
    data, lines = Squares(), list[str]()
    first = domain(tmp_path / "x.safetensors", data, data.targets, "abc", lines.append)
    assert data.read - 1 == 60, "each once, and one more that tells the size"
    assert first.held_out == 12
    assert first.accuracy == 1.0
    assert "3 classes of these data, right on 100.0% of 12 held-out images" in lines[0]
    second = domain(tmp_path / "x.safetensors", data, data.targets, "abc", lines.append)
    assert data.read - 1 == 60, "nothing is read again"
    assert second.by_class == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert lines[0] == lines[1]
    images = to_unit_range(torch.stack([data[index][0] for index in range(3)]))
    with torch.no_grad():
        assert torch.equal(first.classifier(images), second.classifier(images))
        assert second.classifier(images).argmax(1).tolist() == [0, 1, 2]


def test_large_data_sets_are_read_evenly_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 30)
    data = Squares()
    data.targets = [index // 20 for index in range(60)]
    found = domain(tmp_path / "x.safetensors", data, data.targets, "abc", lambda line: None)
    assert (data.read - 1, found.held_out) == (30, 6)


def test_large_images_are_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUMBERS", 20 * 3 * 16 * 16)
    data = Squares()
    domain(tmp_path / "x.safetensors", data, data.targets, "abc", lambda line: None)
    assert data.read - 1 == 20


def test_features_of_the_real_images_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 7)
    data = Squares()
    first = domain(tmp_path / "x.safetensors", data, data.targets, "abc", lambda line: None)
    again = domain(tmp_path / "x.safetensors", data, data.targets, "abc", lambda line: None)
    images = to_unit_range(torch.stack([data[index][0] for index in range(0, 60, 3)]))  # those of a
    wanted = features_of(first.classifier, images)[::3]  # 20 of them, every third is the most even choice of at most 7
    assert torch.equal(first.features["a"], wanted)
    assert all(torch.equal(first.features[name], again.features[name]) for name in "abc")


def test_rare_classes_are_shown_more_often() -> None:
    labels = torch.tensor([0] * 100 + [1] * 90 + [2] * 10 + [3] * 1)
    shown = torch.bincount(labels[module._balanced(labels, torch.arange(len(labels)))])
    assert shown.tolist() == [100, 90, 10, 10], "as often as the median class's"
    labels = torch.tensor([0] * 100 + [1] * 100 + [2] * 2)
    shown = torch.bincount(labels[module._balanced(labels, torch.arange(len(labels)))])
    assert shown.tolist() == [100, 100, 40], "at the most MOST_OFTEN times"


def test_unit_range() -> None:
    assert to_unit_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
    assert to_unit_range(torch.tensor([0.5])).tolist() == [0.5]
