"""A run opened to make images: its networks with their weights, and what is known of its labels and its data."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rcas_plugin.checkpoints.best import kept_step
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.checkpoints.lineage import FOLDER, Lineage, read_lineage
from rcas_plugin.checkpoints.router import route_by_label
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.record import RECORD, LineageSwap, Record, read_record
from rcas_plugin.sampling.build import Builder

#: Images of one colour: their channels differ by less than this, of 255, on average. Generators of gray data are this close,
#: and photographs are at 20 and more.
GRAY_SPREAD = 6.0
#: How many generated images a label, of how many labels, tell whether the data were gray.
_LOOKED_AT = 4, 8


@dataclass(frozen=True)
class CheckpointFile:
    """The file that a generator's weights come from.

    Attributes:
        folder: of the run.
        path: of the file.
        sha256: of the file.
        step: the training steps before it was written.
    """

    folder: Path
    path: Path
    sha256: str
    step: int


@dataclass(frozen=True)
class OpenRun:
    """A run's networks and what is known about them.

    Attributes:
        gan: in evaluation mode, with the moving average where the run has one; adapters are folded. Where the run's tasks lie
            apart, `gan.evaluated` makes each label by the state of its own.
        labels: the class behind each label, or None where nothing records it.
        slots: the labels of the run's new classes, ascending; empty for a GAN that was not swapped.
        size: of the images in pixels, which are square.
        checkpoint: the file that the generator comes from.
        record: what the run recorded.
        builder: of networks of its config.
    """

    gan: Gan
    labels: tuple[str | None, ...]
    slots: tuple[int, ...]
    size: int
    checkpoint: CheckpointFile
    record: Record
    builder: Builder

    @property
    def config(self) -> Mapping[str, Any]:
        """The config that the networks were built by, without an RCAS section."""
        return self.builder.config

    @cached_property
    def gray(self) -> bool:
        """Whether the run's data were gray: by the record, or else by what a few of its images show."""
        if self.record.images is not None:
            return self.record.images.gray
        images, labels = _LOOKED_AT
        shown = torch.tensor(self.slots or tuple(range(len(self.labels))))[:labels].repeat_interleave(images)
        return shows_gray(sample_images(self.gan.evaluated, shown, self.gan.latents))

    @cached_property
    def lineage(self) -> Lineage:
        """The earlier states of the generator, from the run's `tasks/`.

        Raises:
            RcasError: it has none, or a file of them is not as it was written.
        """
        return read_lineage(self.checkpoint.folder)

    def generator_of(self, state: int | None) -> nn.Module:
        """The generator of an earlier state, by its place in `lineage.states`; of the run itself for None."""
        if state is None:
            return self.gan.evaluated
        if state not in self._generators:
            tensors = self.lineage.states[state]
            generator = self.builder.build(len(self.labels_of(state))).evaluated
            try:
                generator.load_state_dict(dict(tensors))
            except RuntimeError:
                raise RcasError(
                    f"{self.checkpoint.folder}: its earlier state {state} is not of the networks of its config"
                ) from None
            self._generators[state] = generator.eval()
        return self._generators[state]

    @property
    def kept(self) -> tuple[LineageSwap, ...]:
        """The swaps before the run's own that its `tasks/` has the state of, oldest first; state n is the nth of them."""
        there = (self.checkpoint.folder / FOLDER).is_dir()
        return tuple(swap for swap in self.record.swaps[:-1] if swap.task is not None) if there else ()

    def labels_of(self, state: int | None) -> tuple[str | None, ...]:
        """The class behind each label of a state."""
        if state is None:
            return self.labels
        return self.kept[state - 1].labels if state else self.record.swaps[-len(self.kept) - 1].labels_before

    def slots_of(self, state: int | None) -> tuple[int, ...]:
        """The labels of the new classes of a state; none for the one that the lineage began with."""
        if state is None:
            return self.slots
        return tuple(sorted(self.kept[state - 1].slots)) if state else ()

    @cached_property
    def _generators(self) -> dict[int, nn.Module]:
        return {}


def shows_gray(images: Tensor) -> bool:
    """Whether images (n, channels, height, width) in [-1, 1] are of one colour, but for what a generator leaves."""
    spread = (images.amax(1) - images.amin(1)).mean() * 127.5
    return float(spread) < GRAY_SPREAD


def open_run(
    folder: str | Path,
    *,
    cfg: str | Path | None = None,
    studiogan: str | Path | None = None,
    step: Literal["best", "newest"] = "best",
) -> OpenRun:
    """Build the networks of a run, or of any checkpoint of StudioGAN's, and load its weights; nothing is written.

    They are on the GPU where there is one. Without a StudioGAN the embedded networks stand in for resnet at 32x32; of a run that
    they trained they are taken in any case.

    Args:
        folder: the checkpoint's.
        cfg: the config that trained it; by default the one that rcas.json records, or StudioGAN's own of the run's name.
        studiogan: the root folder of a StudioGAN; by default as `find_studiogan` finds it.
        step: the best state, or the newest; where a folder holds no whole best state, the newest is taken.

    Raises:
        RcasError: the checkpoint or its config is not there, or they do not fit; or the config needs a StudioGAN.
    """
    root, record = Path(folder), read_record(folder)
    best = step == "best" and kept_step(root) is not None
    files = checkpoint_files(root, best=best)
    content = read_checkpoint(files["D"])
    builder = Builder.of(root, record, str(content.get("run_name", "")), cfg, studiogan)
    gan = builder.load(best=best)
    if record.swaps and record.swaps[-1].apart:
        lineage = read_lineage(root)
        route_by_label([gan.evaluated], copy.deepcopy(gan.evaluated), lineage.states, lineage.routes)
    path = files.get("G_ema", files["G"]) if gan.ema is not None else files["G"]
    facts = CheckpointFile(root, path, hashlib.sha256(path.read_bytes()).hexdigest(), int(content.get("step", 0)))
    size, num_classes = builder.number("img_size"), builder.number("num_classes")
    return OpenRun(gan, _names(record, num_classes), tuple(sorted(record.slots)), size, facts, record, builder)


def _names(record: Record, num_classes: int) -> tuple[str | None, ...]:
    if record.labels and len(record.labels) != num_classes:
        raise RcasError(
            f"-ckpt: {RECORD} beside the checkpoint names {len(record.labels)} labels and the GAN has {num_classes}; "
            "take the config that trained it"
        )
    return record.labels or (None,) * num_classes
