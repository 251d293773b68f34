"""The state of this process's run, which the wrappers of the seams read and fill."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.labels import SwapDataset
from rcas_plugin.record import plain_record, read_record, swap_record
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.studiogan.passes import Passes
from rcas_plugin.studiogan.run import SwapRun, class_names


@dataclass
class ActiveRun:
    """The state of this process's run; the wrappers of the seams read and fill it.

    Attributes:
        cfgs: upstream's Configurations, or None before they are read.
        swap: what the `RCAS` section asks for, or None for a plain upstream run.
        checkpoint: of `-ckpt`, read while the run was checked, until its weights are in the networks.
        lifecycle: of the swap that is trained, once its networks are built; None for a plain run and an evaluation.
        passes: what went through G and D in the present update.
        data: the training data as the swap sees them, once they are read.
        base: upstream's data set behind them, or of a plain run; the evaluation's where nothing is trained.
        worker: upstream's worker, once it is made.
        names: the class behind each label of a plain run, once it was asked for; empty where that is unknown.
        seconds_per_step: as measured so far; 0 before.
    """

    cfgs: Any = None
    swap: SwapRun | None = None
    checkpoint: Checkpoint | None = None
    lifecycle: Lifecycle | None = None
    passes: Passes = field(default_factory=Passes)
    data: SwapDataset | None = None
    base: Any = None
    worker: Any = None
    names: tuple[str, ...] | None = None
    seconds_per_step: float = 0.0

    def adopt(self, cfgs: Any) -> None:
        """Take over a config in the process that trains; a spawned process gets it by pickle."""
        self.cfgs, self.swap = cfgs, getattr(cfgs, "rcas_run", None)

    def take_checkpoint(self) -> Checkpoint:
        """The checkpoint of `-ckpt`, given once: read now only in a process that has not checked the run, under -DDP."""
        assert self.swap is not None
        checkpoint, self.checkpoint = self.checkpoint, None
        return checkpoint or Checkpoint.read(self.swap.source, best=self.cfgs.RUN.load_best)

    def record(self) -> dict[str, Any]:
        """The record beside the checkpoints: for a swap its settings; for any run the class of each label, where that is
        known, the config, what its images were and the time of a step."""
        about = {"config": getattr(self.cfgs, "rcas_config", None), "seconds_per_step": round(self.seconds_per_step, 4),
                 "embedded": False}  # fmt: skip
        images = getattr(self.cfgs, "rcas_images", None)
        about |= {"images": images} if images else {}
        if self.swap is not None:
            of_method, inherited = ({}, None) if self.lifecycle is None else (self.lifecycle.record(), self.lifecycle.inherited)
            about |= {"method": of_method} if of_method else {}
            about |= {"frozen_blocks": self.swap.frozen_blocks} if self.swap.frozen_blocks else {}
            return {**swap_record(self.swap.settings, self.swap.plan, self.swap.origin, inherited), **about}
        if self.names is None:  # a large data set takes a while to list
            self.names = read_record(self.cfgs.RUN.ckpt_dir).labels or class_names(self.cfgs)
        return {**plain_record(self.names), "unused": [], **about}


#: The run of this process; a distributed run has one in each process.
RUN = ActiveRun()
