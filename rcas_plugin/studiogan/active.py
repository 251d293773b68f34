"""The run of this process: what the wrappers of the seams read and fill."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from rcas_plugin.gan import Gan
from rcas_plugin.labels import SwapDataset
from rcas_plugin.methods.base import Method
from rcas_plugin.record import plain_record, read_record, swap_record
from rcas_plugin.studiogan.run import SwapRun, class_names
from rcas_plugin.watch.observer import Observer


@dataclass
class ActiveRun:
    """The state of this process's run; the wrappers of the seams read and fill it.

    Attributes:
        cfgs: upstream's Configurations, or None before they are read.
        swap: what the `RCAS` section asks for, or None for a plain upstream run.
        gan: the networks, once they are built.
        method: the method at work, once it is made.
        seen: (images, labels) that D was shown since the last fakes were made.
        step: the step of training, from 0.
        data: the training data as the swap sees them, once they are read.
        base: upstream's data set behind them, or of a plain run; the evaluation's where nothing is trained.
        worker: upstream's worker, once it is made.
        observer: watches a swap, in the process that writes files.
        names: the class behind each label of a plain run, once it was asked for; empty where that is unknown.
        seconds_per_step: as measured so far; 0 before.
    """

    cfgs: Any = None
    swap: SwapRun | None = None
    gan: Gan | None = None
    method: Method | None = None
    seen: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)
    step: int = 0
    data: SwapDataset | None = None
    base: Any = None
    worker: Any = None
    observer: Observer | None = None
    names: tuple[str, ...] | None = None
    seconds_per_step: float = 0.0

    def adopt(self, cfgs: Any) -> None:
        """Take over a config in the process that trains; a spawned process gets it by pickle."""
        self.cfgs, self.swap = cfgs, getattr(cfgs, "rcas_run", None)

    def record(self) -> dict[str, Any]:
        """What is written beside the checkpoints: for a swap its settings; for any run the class of each label, where that is
        known, the config and the time of a step."""
        about = {"config": getattr(self.cfgs, "rcas_config", None), "seconds_per_step": round(self.seconds_per_step, 4)}
        if self.swap is not None:
            of_method = {} if self.method is None else self.method.record()
            about |= {"method": of_method} if of_method else {}
            return {**swap_record(self.swap.settings, self.swap.plan, self.swap.origin), **about}
        if self.names is None:  # a large data set takes a while to list
            self.names = read_record(self.cfgs.RUN.ckpt_dir).labels or class_names(self.cfgs)
        return {**plain_record(self.names), **about}


#: The run of this process; a distributed run has one in each process.
RUN = ActiveRun()
