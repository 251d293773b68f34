"""The judge of one swap: a classifier of the real data of old, new and remaining classes, which measures a generator's images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.labels import LabelPlan, SwapDataset
from rcas_plugin.metrics.domain import KEPT, Domain, domain, features_of, to_unit_range
from rcas_plugin.metrics.neighbours import Neighbours, nearest_real
from rcas_plugin.metrics.swap import swap_metrics

#: The most generated images of one evaluation; with many labels each has fewer.
LIMIT = 20_000
#: Generated images a label that stand for a class whose real images are gone.
STAND_INS = 256

#: What a second judge says of a moment.
PARTS = ("new", "old", "remaining", "worst")

#: (label, n) -> n images (n, channels, height, width) of the pre-trained GAN, in [-1, 1].
Pretrained = Callable[[int, int], Tensor]


@dataclass(frozen=True)
class RealData:
    """Real images to learn the classes from.

    Attributes:
        data: yields (image, …).
        targets: the class index of every item.
        classes: names, by index.
        gone: old and remaining classes without real images.
        added: what tells these data from others of the same base.
    """

    data: Dataset[Any]
    targets: tuple[int, ...]
    classes: tuple[str, ...]
    gone: tuple[str, ...] = ()
    added: str = ""

    def key(self, fingerprint: str) -> str:
        """The name of the classifier that is trained on these; `fingerprint` is that of the data set that they came from."""
        return hashlib.sha256(f"{fingerprint} {self.added}".encode()).hexdigest()[:16] if self.added else fingerprint


def real_data(
    base: Dataset[Any],
    targets: Sequence[int],
    classes: Sequence[str],
    plan: LabelPlan,
    swapped: SwapDataset,
    pretrained: Pretrained | None = None,
    origin: str = "",
) -> RealData:
    """The data set with what a swap adds to it: new classes from folders of their own, and old and remaining ones without images.

    The latter are stood in for by the pre-trained GAN's images. Every label's are added then, so that what sets generated images
    apart from real ones does not tell the old class.

    Args:
        base: the whole data set; yields (image, …).
        targets: the class index of every item.
        classes: names, by index.
        plan: of the swap.
        swapped: the data as the swap sees them.
        pretrained: the pre-trained GAN; None where it is not at hand.
        origin: where that came from.
    """
    parts, indices, names = [base], list(targets), list(classes)
    added: list[Any] = []

    def add(data: Dataset[Any], count: int, name: str) -> None:
        if name not in names:
            names.append(name)
        parts.append(data)
        indices.extend([names.index(name)] * count)

    for label, files in plan.new_files.items():
        positions = [position for position in range(swapped.own) if swapped.labels[position] == label]
        add(Subset(swapped, positions), len(files), plan.names[label])
        added.append([plan.names[label], [[path, Path(path).stat().st_mtime_ns] for path in files]])
    present = {names[target] for target in set(indices)}
    without = {label: plan.names[label] for label, index in plan.remaining.items() if index is None}
    gone = [name for _, name in sorted({**plan.replaced, **without}.items()) if name not in present]
    if gone:
        added.append([gone, origin])  # the same with no GAN at hand: a run that goes on finds its judge
    if gone and pretrained is not None:
        count = max(1, min(STAND_INS, LIMIT // len(plan.names_before)))
        shown = {*plan.replaced.values(), *(plan.names[label] for label in plan.remaining)}  # no label without images
        for label, name in enumerate(plan.names_before):
            if name in shown:
                add(_Images(pretrained(label, count)), count, name)
    data = ConcatDataset(parts) if len(parts) > 1 else base
    return RealData(data, tuple(indices), tuple(names), tuple(gone), json.dumps(added) if added else "")


class _Images(Dataset[Any]):
    """Images in memory, as a data set."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self.images[position], 0


class Judge:
    """The judge of a swap at any moment of it: measures the generator by a classifier of the real data.

    Args:
        found: the classifier, and the real images' features.
        plan: which class stands behind which label.
        images: generated images a label; fewer where that makes over `LIMIT` in all.
        real_images: (label, n) -> real images of a new class, for their neighbours.
        second: a classifier that nothing was chosen by, whose figures stand beside the first one's; None for none.
    """

    def __init__(
        self,
        found: Domain,
        plan: LabelPlan,
        images: int,
        real_images: Callable[[int, int], Tensor],
        second: Domain | None = None,
    ) -> None:
        self.domain, self.plan, self.second = found, plan, second
        self.images = max(1, min(images, LIMIT // len(plan.live)))
        self._real_images = real_images
        self._neighbours: dict[int, tuple[Tensor, Tensor]] = {}

    @classmethod
    def of(
        cls,
        folder: Path,
        fingerprint: str,
        data: RealData,
        plan: LabelPlan,
        images: int,
        *,
        real_images: Callable[[int, int], Tensor],
        second: bool = False,
        log: Callable[[str], None] = print,
    ) -> Judge:
        """The judge with the classifier in `folder`, which `--eval_backbone domain` shares; trained now where none is there."""
        with torch.random.fork_rng(devices=[]):  # the training's own draws are the same with a judge and without
            key = data.key(fingerprint)
            first, *others = (
                domain(folder / f"{key}{suffix}.safetensors", data.data, data.targets, data.classes, log, second=bool(suffix))
                for suffix in ("", *(["-second"] if second else []))
            )
            return cls(first, plan, images, real_images, *others)

    def measure(self, gan: Gan) -> dict[str, Any]:
        """`swap_metrics` of the generator whose images a user sees; the same latents each time.

        Where there is a second judge, its `PARTS` stand under `second`.
        """
        judges = [self.domain, *([self.second] if self.second is not None else [])]
        features: list[list[Tensor]] = [[] for _ in judges]
        for label in self.plan.live:
            images = self._sample(gan, torch.full((self.images,), label))
            for parts, judge in zip(features, judges, strict=True):
                parts.append(features_of(judge.classifier, images))
        first, *others = (self._figures(judge, torch.cat(parts)) for judge, parts in zip(judges, features, strict=True))
        for figures in others:
            first["second"] = {part: figures[part] for part in PARTS}
        return first

    @torch.no_grad()
    def _figures(self, judge: Domain, features: Tensor) -> dict[str, Any]:
        """`swap_metrics` of features (labels * images, d), label after label, by one classifier."""
        probabilities = judge.classifier.head(features).softmax(1)
        labels = torch.tensor(self.plan.live).repeat_interleave(self.images)
        return swap_metrics(self.plan, judge.classes, judge.features, features, probabilities, labels)

    def neighbours(self, gan: Gan, label: int, shown: int) -> tuple[Tensor, Tensor, Neighbours]:
        """`shown` generated images of a new class, the real image nearest to each, and `Neighbours` of all generated images."""
        if label not in self._neighbours:
            with torch.random.fork_rng(devices=[]):
                real = to_unit_range(self._real_images(label, KEPT))
            self._neighbours[label] = real, features_of(self.domain.classifier, real)
        real, real_features = self._neighbours[label]
        fakes = self._sample(gan, torch.full((self.images,), label))
        neighbours = nearest_real(real_features, features_of(self.domain.classifier, fakes))
        return fakes[:shown], real[neighbours.nearest[:shown]], neighbours

    def _sample(self, gan: Gan, labels: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            return sample_images(gan.evaluated, labels, gan.latents, seed=int(labels[0]))
