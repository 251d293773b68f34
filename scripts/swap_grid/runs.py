"""The rows of the grid: one swap each, by one method, measured as it goes."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import Gan
from rcas_plugin.labels import DataClasses, LabelPlan, repeat_factors, resolve_labels
from rcas_plugin.methods.base import Context
from rcas_plugin.methods.class_swap.method import ClassSwap
from rcas_plugin.registry import methods
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.weights.average import Average, tensors_of
from swap_grid.judge import Swap
from swap_grid.parts import OPTIONS, PARTS, Pair, Part
from swap_grid.trials import TRIALS, Trial

#: A larger step of the slot's own columns: tried, and no part of any default.
LABEL_LR = {"generator": 10.0, "steps": 150}
#: What is compared: the RCAS section of each.
METHODS: dict[str, dict[str, Any]] = {
    "fine_tune": {"method": "fine_tune"},
    "class_swap": {"method": "class_swap"},
    "bn_propagation": {"method": "bn_propagation"},
    "bn_propagation, 60 updates": {"method": "bn_propagation", "label_start": {"iterations": 60}},
    "bn_propagation, label_lr": {
        "method": "bn_propagation",
        "label_start": {"iterations": 60},
        "label_lr": {"generator": 10.0, "steps": 720},
    },
    "bn_propagation, with ft": {"method": "bn_propagation", "label_start": {"iterations": 60}},
    "bn_propagation, a third bn": {"method": "bn_propagation"},
    "fine_tune, share": {"method": "fine_tune", "share": 0.5},
    "class_swap, no share": {"method": "class_swap", "share": 0.0},
    "class_swap, batch statistics": {"method": "class_swap", "batch_norm": "batch"},
    "class_swap, no retain": {"method": "class_swap", "retain": 0.0},
    "class_swap, label_lr, no retain": {"method": "class_swap", "label_lr": LABEL_LR, "retain": 0.0},
    "fine_tune, label_lr": {"method": "fine_tune", "label_lr": LABEL_LR},
    "rcas": {"preset": "rcas", "importance": {"samples": 512}},
    "rcas_10": {"preset": "rcas_10", "importance": {"samples": 512}},
    "gan_memory": {"method": "gan_memory"},
    "piggyback": {"method": "piggyback"},
    "feature_replay": {"method": "feature_replay"},
    **{
        f"{method}, {data}": {"method": method, "remaining_data": data}
        for method in ("fine_tune", "class_swap", "bn_propagation")
        for data in ("replay", "none")
    },
    **{name: {"method": "class_swap"} for name in TRIALS},
    "from scratch": {"method": "fine_tune"},
}
#: Stage bn has one in so many of the run's steps, where that is not the default.
BN_STEPS = {"bn_propagation, with ft": 10, "bn_propagation, a third bn": 3}
NO_TRIAL = Trial()
#: Measured at these steps as well as at every 40th: the first steps are where the methods differ.
EARLY = (10, 20)
EVERY = 40
#: Of the average of G's weights that is measured beside them, of every method.
AVERAGE = 0.95


def training_data(swap: Swap, plan: LabelPlan, few: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) and labels (n,) of a swap; of each new class only `few`, drawn by the seed, where that is not 0."""
    data = swap.data
    to_label = torch.full((len(data.names),), -1)
    for index, label in plan.class_to_label.items():
        to_label[index] = label
    labels = to_label[data.classes]
    if few:
        for label in plan.slots:
            own = (labels == label).nonzero().flatten()
            labels[own[torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))[few:]]] = -1
    return data.images[labels >= 0].expand(-1, 3, -1, -1), labels[labels >= 0]


def balanced(labels: Tensor, plan: LabelPlan, share: float = 0.0) -> Tensor:
    """Positions (n,) of what an epoch shows, as `RCAS.balance` and `RCAS.share` have it."""
    times = repeat_factors(dict(enumerate(torch.bincount(labels).tolist())), plan.slots.keys(), share)
    return torch.arange(len(labels)).repeat_interleave(torch.tensor([times[label] for label in labels.tolist()]))


def run_row(
    swap: Swap, gan: Gan, section: dict[str, Any], seed: int, part: Part, few: int = 0, trial: Trial = NO_TRIAL
) -> dict[str, Any]:
    """One swap: its method's `prepare`, then fine-tuning, measured as it goes; the times are the processor's.

    Each method has an average of G's weights beside it, which is measured too: none is better off for being averaged alone.
    """
    data, steps = swap.data, part.steps
    measure = partial(swap.measure, slot_images=part.slot_images, images=part.images)
    wanted = {"swap": dict(zip(swap.slots, swap.new, strict=True)), "accelerate": True, "snapshot_images": 0}
    settings = parse_settings({**wanted, **section})
    counts = torch.bincount(data.classes, minlength=len(data.names)).tolist()
    if few:
        counts = [few if name in swap.new else count for name, count in zip(data.names, counts, strict=True)]
    plan = resolve_labels(settings, len(swap.names), DataClasses(data.names, tuple(counts)), swap.names)
    images, labels = training_data(swap, plan, few, seed)
    torch.manual_seed(seed)
    method = methods[settings.method](
        Context(settings, plan, seed, steps, log=lambda line: None, real_images=lambda label, n: images[labels == label][:n])
    )
    before = measure(gan.generator)
    looked: list[tuple[dict[str, Any], float]] = []
    if isinstance(method, ClassSwap):
        recalibrate = method.recalibrate

        def look_first(gan: Gan) -> None:
            """The state with stale batch-norm statistics is measured, and the time of that is none of the preparation's."""
            began = time.process_time()
            looked.append((measure(gan.generator), time.process_time() - began))
            recalibrate(gan)

        method.recalibrate = look_first  # type: ignore[method-assign]
    started = time.process_time()
    with trial.matching():
        lifecycle = Lifecycle.begin(method, gan, Checkpoint.of(gan))
    prepared = time.process_time() - started - sum(seconds for _, seconds in looked)
    stale = looked[0][0] if looked else None
    epoch = (images, labels)
    if method.shown(settings) == "new":
        of_slots = torch.isin(labels, torch.tensor(sorted(plan.slots)))
        epoch = (images[of_slots], labels[of_slots])
    elif few or settings.drawn_share:
        shown = balanced(labels, plan, settings.drawn_share)
        epoch = (images[shown], labels[shown])
    loop = Loop(gan, *epoch, torch.tensor(method.drawn(settings, plan)), OPTIONS, torch.Generator().manual_seed(seed + 1),
                lifecycle=lifecycle, accelerated=settings.accelerate)  # fmt: skip
    started = time.process_time()
    trial.train_ahead(loop)
    prepared += time.process_time() - started
    average = Average(gan.generator, AVERAGE)
    first = measure(gan.generator)
    curve, of_average = {0: first}, {0: first}
    stepping = 0.0
    for step in range(steps):
        started = time.process_time()
        loop.step(step)
        stepping += time.process_time() - started
        average.update(tensors_of(gan.generator).values())
        if step + 1 in EARLY or (step + 1) % EVERY == 0:
            curve[step + 1] = measure(gan.generator)
            with average.shown():
                of_average[step + 1] = measure(gan.generator)
    return {
        "kept": "average" if settings.average else "curve", "before": before, "stale": stale, "curve": curve,
        "average": of_average, "prepare_s": prepared, "step_s": stepping / steps,
    }  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One run of the grid: which part of it, the seed, the slots and their new classes, the method, images of a new class."""

    part: str
    seed: int
    pair: Pair
    name: str
    few: int

    @property
    def method(self) -> str:
        """As tables call it."""
        return self.name if not self.few else f"{self.name}, {self.few} images"

    @property
    def section(self) -> dict[str, Any]:
        """The RCAS section that it runs with, but for the slots."""
        if self.name not in BN_STEPS:
            return METHODS[self.name]
        return {**METHODS[self.name], "stages": {"bn": PARTS[self.part].steps // BN_STEPS[self.name]}}

    @property
    def trial(self) -> Trial:
        """What it does beside its section."""
        return TRIALS.get(self.name, NO_TRIAL)

    def file(self, out: Path) -> Path:
        slots, new = ("-".join(names) for names in self.pair)
        return out / "rows" / f"{self.part.replace(', ', '-')}-{slots}-to-{new}-{self.method.replace(', ', '-')}-{self.seed}.json"


def rows_of(args: argparse.Namespace, part: str) -> list[Row]:
    """The seeds are outermost: an unfinished grid has every pair and method."""
    pairs = PARTS[part].pairs[: args.pairs]
    return [
        Row(part, seed, pair, name, few)
        for seed in range(args.seeds)
        for pair in pairs
        for few in args.images
        for name in args.methods
    ]
