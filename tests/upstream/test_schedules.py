"""Upstream's moving average and ADA, held against what feature replay is published with; by hand in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "configs" / "classify" / "cifar100_gan.yaml").read_text())
BATCH = CONFIG["OPTIMIZATION"]["batch_size"]


def test_the_moving_average_takes_in_half_in_so_many_images(upstream: Callable[[str], Any]) -> None:
    """n = min(500,000, 64 * step * ramp) images; a step keeps 0.5^(64 / n) of the average."""
    live, average = nn.Linear(1, 1, bias=False).double(), nn.Linear(1, 1, bias=False).double()
    style = CONFIG["STYLEGAN"]
    ema = upstream("utils.ema").EmaStylegan2(live, average, style["g_ema_kimg"], style["g_ema_rampup"], BATCH)
    wanted = float(average.weight.detach())
    for step in (1, 2, 50, 5_000, 200_000):
        with torch.no_grad():
            live.weight.fill_(step / 1000)
        images = min(500_000, BATCH * step * style["g_ema_rampup"])
        kept = 0.5 ** (BATCH / images)
        wanted = (1 - kept) * step / 1000 + kept * wanted
        ema.update(step)
        assert math.isclose(float(average.weight.detach()), wanted, rel_tol=1e-12)
    assert images == 500_000, "the ramp has ended"


def test_ada_goes_by_a_thousandth_at_every_fourth_step() -> None:
    augment = CONFIG["AUG"]
    each = BATCH * augment["ada_interval"] / (augment["ada_kimg"] * 1000)
    assert (augment["ada_target"], augment["ada_interval"], each) == (0.5, 4, 0.001)
