"""Remaining labels without images: what takes their place in a batch, by hand in float64, and swaps by it."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rcas_plugin.embedded import loop, steps
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan
from rcas_plugin.labels import DataClasses, LabelPlan, resolve_labels
from rcas_plugin.methods.pretrained import Pretrained
from rcas_plugin.methods.replay import ReplayedBatches
from rcas_plugin.registry import methods
from rcas_plugin.settings import parse_settings

from ..embedded.test_loop import write
from .suite import write_classes

CPU = torch.device("cpu")
PLAN = LabelPlan(4, {3: 0}, {1: None, 2: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))


@pytest.fixture
def gan(pair: Any) -> Gan:
    return Gan(pair[0].double(), pair[1].double(), None, lambda n, source: torch.randn(n, 6, generator=source).double())


def test_what_is_drawn_takes_the_place_of_what_is_not_there(gan: Gan) -> None:
    """By hand: the places whose label is the slot's keep their images, the others have the pre-trained generator's."""
    pretrained = copy.deepcopy(gan.generator).eval()
    replay = ReplayedBatches(Pretrained(gan), PLAN, drawn=PLAN.drawn(0.5), seed=5)
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.add_(0.1)  # what is trained in the meantime does not count
    images, labels = torch.full((40, 3, 32, 32), 7.0, dtype=torch.float64), torch.full((40,), 3)
    mixed, of_mixed = replay(images, labels, CPU)
    source = torch.Generator().manual_seed(5)
    wanted = torch.tensor([3, 3, 1, 2])[torch.randint(4, (40,), generator=source)]
    assert of_mixed.tolist() == wanted.tolist()
    assert set(wanted.tolist()) == {1, 2, 3}
    slots = wanted == 3
    assert (mixed[slots] == 7).all()
    latents = torch.randn(int((~slots).sum()), 6, generator=source).double()
    torch.testing.assert_close(mixed[~slots], pretrained(latents, wanted[~slots]), rtol=1e-12, atol=1e-12)
    assert (images == 7).all(), "what came in is left as it was"
    assert labels.tolist() == [3] * 40
    again, _ = replay(images, labels, CPU)
    assert not torch.equal(again, mixed), "each batch has images of its own"


def test_a_remaining_label_needs_no_images_where_none_are_shown() -> None:
    classes = DataClasses(("a", "d"), (5, 5))
    section = {"method": "fine_tune", "swap": {"b": "d"}}
    with pytest.raises(RcasError, match=r"set RCAS\.remaining_data to replay"):
        resolve_labels(parse_settings(section), 3, classes, ("a", "b", "c"))
    plan = resolve_labels(parse_settings(section), 3, classes, ("a", "b", "c"), shown="new")
    assert (plan.slots, plan.remaining, plan.class_to_label) == ({1: 1}, {0: 0, 2: None}, {0: 0, 1: 1})
    assert plan.live == (0, 1, 2)
    assert plan.counts == {0: 5, 1: 5, 2: 0}


@pytest.mark.parametrize(
    ("remaining_data", "method", "shown", "drawn"),
    [
        ("real", "fine_tune", "all", {0, 1, 2}),
        ("replay", "fine_tune", "new", {0, 1, 2}),
        ("none", "fine_tune", "new", {1}),
        ("real", "gan_memory", "new", {1}),
    ],
)
def test_whose_images_are_shown_and_drawn(remaining_data: str, method: str, shown: str, drawn: set[int]) -> None:
    settings = parse_settings({"method": method, "swap": {"b": "d"}, "remaining_data": remaining_data})
    plan = LabelPlan(3, {1: 3}, {0: 0, 2: 2}, ("a", "d", "c"), ("a", "b", "c"))
    assert methods[method].shown(settings) == shown
    assert set(methods[method].drawn(settings, plan)) == drawn


@pytest.mark.parametrize("remaining_data", ["replay", "none"])
@pytest.mark.parametrize("method", ["fine_tune", "class_swap", "bn_propagation"])
def test_a_swap_whose_remaining_classes_have_no_images(
    method: str, remaining_data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_classes(tmp_path / "data", "abc", 4)
    pretrained = loop.train(write(tmp_path), data, tmp_path / "out", progress=False)
    shutil.rmtree(data)
    write_classes(data, "d", 4)
    shown: list[Tensor] = []
    drawn: list[Tensor] = []
    judged, fakes = steps.Loop._update, steps.Loop._fakes

    def update(self: steps.Loop, role: str, loss: Tensor, batch: Any) -> None:
        if batch.real_labels is not None:
            shown.append(batch.real_labels)
        judged(self, role, loss, batch)

    def made(self: steps.Loop) -> Any:
        result = fakes(self)
        drawn.append(result[1])
        return result

    monkeypatch.setattr(steps.Loop, "_update", update)
    monkeypatch.setattr(steps.Loop, "_fakes", made)
    section = {"method": method, "swap": {"b": "d"}, "remaining_data": remaining_data, "swap_metrics": 4, "snapshot_images": 1}
    if method != "fine_tune":
        section["label_start"] = {"how": "match", "iterations": 1, "batch_size": 2}
    config = write(tmp_path, RCAS=section, OPTIMIZATION={"total_steps": 3, "batch_size": 8, "beta1": 0.0})
    run = loop.train(config, data, tmp_path / "swap", pretrained, save_freq=3, progress=False)
    live = {0, 1, 2} if remaining_data == "replay" else {1}
    assert set(torch.cat(shown).tolist()) == live
    assert set(torch.cat(drawn).tolist()) == live
    assert (run / "report" / "report.html").is_file()
    assert "no real images of" in (run / "swap_metrics.json").read_text()
