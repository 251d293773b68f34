"""The method of another package: its keys, and its own promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import Context, Gan, RcasError, gaussian_latents
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import sample_images
from rcas_plugin.labels import LabelPlan
from rcas_plugin.registry import methods
from rcas_plugin.settings import own_rows, parse_settings

from ..shared import begin
from .example import example_at_hand


@pytest.fixture(scope="module", autouse=True)
def _example(example_site: Path) -> Iterator[None]:
    with example_at_hand(example_site):
        yield


def test_it_has_a_key_and_a_preset_of_its_own() -> None:
    assert ("RCAS.shrink", "0.01") in [row[:2] for row in own_rows("slot_only")]
    assert parse_settings({"method": "slot_only", "swap": {3: 0}}).shrink == 0.01
    with pytest.raises(RcasError, match=r"^RCAS\.shrink: this key belongs to method slot_only"):
        parse_settings({"method": "fine_tune", "swap": {3: 0}, "shrink": 1.0})


def test_every_other_label_stays_for_good(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    plan = LabelPlan(4, {3: 0}, {1: 1, 2: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))
    method = methods["slot_only"](Context(parse_settings({"method": "slot_only", "swap": {3: 0}}), plan))
    before = [sample_images(gan.generator, torch.full((4,), label), gan.latents) for label in range(4)]
    options = {"batch_size": 4, "beta1": 0.0, "g_lr": 0.01, "d_lr": 1e-5}
    images, live = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1, torch.tensor(plan.live)
    loop = Loop(gan, images, live[torch.arange(12) % 3], live, options, torch.Generator(), lifecycle=begin(method, gan))
    for step in range(3):
        loop.step(step)
    after = [sample_images(gan.generator, torch.full((4,), label), gan.latents) for label in range(4)]
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, True, True, False]
