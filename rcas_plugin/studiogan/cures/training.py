"""Cures for what upstream's training loop reads before it is set, where a run goes on from a step in between."""

from __future__ import annotations

from typing import Any

import torch

from rcas_plugin.studiogan.cures import cure
from rcas_plugin.studiogan.seams import replace


@cure("worker.py", "a run that goes on prints StyleGAN's lazy penalties before the first step that computes them")
def penalties_before_they_are_computed() -> None:
    """Give upstream's worker a penalty that is not a number, and no step for wandb, until the first ones are there."""

    def make(original: Any) -> Any:
        class Worker(original):  # type: ignore[misc]
            r1_penalty = torch.tensor(torch.nan)
            pl_reg_loss = torch.tensor(torch.nan)
            wandb_step: int | None = None

        return Worker

    replace("loader.WORKER", "penalties", make)
