"""Cures for runs that go on: what upstream's training loop reads before it is set, and where Adam's step counters lie."""

from __future__ import annotations

import functools
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


@cure("utils/ckpt.py", "load_ckpt moves Adam's step counters to the GPU: each step then waits for it, twice a parameter")
def step_counters_stay_on_the_cpu() -> None:
    """Bring a loaded optimiser's counters back to where torch keeps them, so that a run that goes on is as fast as before."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def load_ckpt(model: Any, optimizer: Any, ckpt_path: str, *args: Any, **kwargs: Any) -> Any:
            loaded = original(model, optimizer, ckpt_path, *args, **kwargs)
            for group in optimizer.param_groups if optimizer is not None else ():
                for parameter in () if group.get("capturable") or group.get("fused") else group["params"]:
                    state = optimizer.state.get(parameter, {})
                    if isinstance(state.get("step"), torch.Tensor):
                        state["step"] = state["step"].cpu()
            return loaded

        return load_ckpt

    replace("utils.ckpt.load_ckpt", "step counters", make)
