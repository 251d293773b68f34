"""`Replay`: a run's generated images as a PyTorch data set, for a training loop of the user's own.

It stands in for real images that are gone, or that may not be kept: a classifier that learns a new class trains on those of the
old ones as well. Each batch has a seed of its own, so that the stream is the same on any number of data-loader workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset, get_worker_info
from tqdm.auto import tqdm

from rcas_plugin.data.stock import as_bytes
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import device_of, sample_images
from rcas_plugin.labels import label_of
from rcas_plugin.sampling.run import OpenRun, open_run
from rcas_plugin.settings import ClassRef

#: Images that `memory` makes at a time.
_PART = 256


class Replay(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches (images, labels) that a run's generator draws, without end or `length` of them.

    Images are float32 (batch_size, channels, height, width) in [-1, 1], and labels int64 (batch_size,), both on the CPU as a data
    set's are; they are made on the GPU where there is one. Each image draws its label, all labels alike. Where the tasks of a run
    lie apart (`gan_memory`, `piggyback`), the state of its own label makes it.

    It yields whole batches: `DataLoader(replay, batch_size=None, num_workers=2)`. The workers share the batches out, and the
    stream is the one of no workers. A loop over it begins again with the same images, after `set_epoch` with others; workers that
    stay from loop to loop (`persistent_workers=True`) see it too. The processes of a DDP run need seeds of their own, such as
    `seed=rank`: with one they draw the same images.

    Args:
        folder: of the checkpoint, any that `rcas sample` opens.
        labels: those that are drawn, by class name or by number; by default every label that has had images.
        batch_size: images of a batch.
        seed: of labels, latents and StyleGAN's noise; 0 or more.
        length: batches of a loop over it, of all workers together; None for no end.
        transform: called with the images of a batch; what it returns is yielded.
        label_map: class name or label -> what is yielded in the label's place; by default the GAN's own numbers.
        cfg: the config that trained the checkpoint; by default the recorded one, or StudioGAN's own of the run's name.
        studiogan: the root folder of a StudioGAN; by default as `rcas sample` finds it.
        step: the best state, or the newest; where there is no best one, the newest.

    Raises:
        RcasError: a label is none of the run's, or has no number in `label_map`; a number is too small; or the checkpoint or its
            config is not there (`open_run`).
    """

    def __init__(
        self,
        folder: str | Path,
        labels: Sequence[ClassRef] | None = None,
        *,
        batch_size: int = 64,
        seed: int = 0,
        length: int | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        label_map: Mapping[ClassRef, int] | None = None,
        cfg: str | Path | None = None,
        studiogan: str | Path | None = None,
        step: Literal["best", "newest"] = "best",
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("length", length, 1)):
            if value is not None and value < least:
                raise RcasError(f"Replay: {name} is {value}; allowed: {least} or more")
        self.batch_size, self.seed, self.length, self.transform = batch_size, seed, length, transform
        self._named: dict[str, Any] = {"folder": folder, "cfg": cfg, "studiogan": studiogan, "step": step}
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # persistent workers hold copies of all else
        self._opened, self._process = open_run(**self._named), os.getpid()
        self.labels = _chosen(self._opened, labels)
        self.numbers = _numbers(self._opened, self.labels, label_map)

    @property
    def run(self) -> OpenRun:
        """The run that the images come from, with its networks; opened anew in a process that was spawned."""
        if self._opened is None:
            self._opened, self._process = open_run(**self._named), os.getpid()
        return self._opened

    def set_epoch(self, epoch: int) -> None:
        """Let the loops over it from now on draw other images: those of this number, from 0."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError("Replay has no end; give it a length")
        return self.length

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        worker = get_worker_info()
        first, every = (0, 1) if worker is None else (worker.id, worker.num_workers)
        run = self.run
        if os.getpid() != self._process and device_of(run.gan.evaluated).type != "cpu":
            raise RcasError(
                "Replay: a forked worker cannot draw on the GPU; give DataLoader num_workers=0 or multiprocessing_context='spawn'"
            )
        index, epoch = first, int(self._epoch)
        while self.length is None or index < self.length:
            yield self._batch(run, epoch, index)
            index += every

    def _batch(self, run: OpenRun, epoch: int, index: int) -> tuple[Any, Tensor]:
        of_labels, of_images = _seeds(0, self.seed, epoch, index)
        source = torch.Generator().manual_seed(of_labels)
        drawn = torch.randint(len(self.labels), (self.batch_size,), generator=source)
        images = sample_images(run.gan.evaluated, torch.tensor(self.labels)[drawn], run.gan.latents, seed=of_images)
        return images if self.transform is None else self.transform(images), torch.tensor(self.numbers)[drawn]

    def memory(self, images: int) -> TensorDataset:
        """As many images of each label, drawn once: uint8 (n, channels, height, width), and labels (n,) as the batches have them.

        Label after label; `transform` is left to the user. The same seed draws the same, and others than the batches.

        Args:
            images: of each label.

        Raises:
            RcasError: it is under 1.
        """
        if images < 1:
            raise RcasError(f"Replay.memory: images is {images}; allowed: 1 or more")
        gan, parts = self.run.gan, []
        with tqdm(total=images * len(self.labels), desc="drawing images", unit="image", delay=2, disable=None) as bar:
            for label in self.labels:
                for start in range(0, images, _PART):
                    wanted = torch.full((min(_PART, images - start),), label)
                    of_images, _ = _seeds(1, self.seed, label, start)
                    made = sample_images(gan.evaluated, wanted, gan.latents, seed=of_images)
                    parts.append(as_bytes(made))
                    bar.update(len(wanted))
        return TensorDataset(torch.cat(parts), torch.tensor(self.numbers).repeat_interleave(images))

    def __getstate__(self) -> dict[str, Any]:
        """What a spawned worker gets: it opens the run for itself."""
        return {**self.__dict__, "_opened": None}


def _seeds(*numbers: int) -> tuple[int, int]:
    """Two seeds of 32 bits that tell these numbers from any others."""
    first, second = np.random.SeedSequence(numbers).generate_state(2).tolist()
    return first, second


def _chosen(run: OpenRun, wanted: Sequence[ClassRef] | None) -> tuple[int, ...]:
    """The labels that are drawn, in the order in which they are named."""
    live = [label for label, name in enumerate(run.labels) if name not in run.record.dropped]
    if wanted is None:
        return tuple(live)
    if not wanted or isinstance(wanted, str):
        raise RcasError(f"Replay: labels is {wanted!r}; give a list of {_allowed(run, live)}, or leave it out for all")
    chosen = []
    for ref in wanted:
        label = label_of(ref, cast("Sequence[str]", run.labels))
        if label not in live:
            raise RcasError(f"Replay: labels names {ref!r}, which is no label with images; allowed: {_allowed(run, live)}")
        if label in chosen:
            raise RcasError(f"Replay: labels names label {label} twice; name each once")
        chosen.append(label)
    return tuple(chosen)


def _allowed(run: OpenRun, live: Sequence[int]) -> str:
    return ", ".join(f"{label} ({run.labels[label]!r})" if run.labels[label] else str(label) for label in live)


def _numbers(run: OpenRun, labels: Sequence[int], label_map: Mapping[ClassRef, int] | None) -> tuple[int, ...]:
    """The number that is yielded for each label that is drawn."""
    if label_map is None:
        return tuple(labels)
    numbers: list[int] = []
    for label in labels:
        found = [label_map[ref] for ref in (label, run.labels[label]) if ref is not None and ref in label_map]
        if not found:
            raise RcasError(
                f"Replay: label_map has no number for label {_allowed(run, [label])}; add it, or leave it out of labels"
            )
        numbers.append(found[0])
    return tuple(numbers)
