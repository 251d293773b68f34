"""Images of remaining labels whose real ones are gone: the pre-trained generator draws them anew for each batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rcas_plugin.gan import seeded
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.pretrained import Pretrained, source_of


@dataclass(frozen=True)
class ReplayedBatch:
    """What D is about to be shown as real.

    Attributes:
        labels: (n,) of the batch.
        replayed: (n,) where an image is the pre-trained generator's.
        latents: (m, z_dim) that it made those m images of.
    """

    labels: Tensor
    replayed: Tensor
    latents: Tensor


class ReplayedBatches:
    """Turns a batch of new classes' real images into one of every label (`RCAS.remaining_data: replay`).

    Each place of the batch draws a label as the fakes do. Where it is a slot's the image that is there stays; where it is a
    remaining label's an image of the pre-trained generator takes the place, of new latents each time.

    Args:
        pretrained: draws the images.
        plan: which labels remain.
        drawn: the labels of a batch, each entry alike (`Method.drawn`).
        seed: of labels, latents and StyleGAN's noise.

    Attributes:
        batches: those of this step that no fakes were made beside (`Method.fakes_of`), oldest first.
    """

    def __init__(self, pretrained: Pretrained, plan: LabelPlan, *, drawn: Sequence[int], seed: int = 0) -> None:
        self.pretrained = pretrained
        self.drawn = torch.tensor(drawn)
        self.remaining = torch.tensor(sorted(plan.remaining))
        self.source = source_of(seed)
        self.batches: deque[ReplayedBatch] = deque()

    def begin(self) -> None:
        """Forget the batches before: those of a step's updates of D come now, in their order."""
        self.batches.clear()

    @torch.no_grad()
    def __call__(self, images: Tensor, labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """The batch with remaining labels in it.

        Args:
            images: (n, channels, height, width) in [-1, 1], of new classes alone; left as they are.
            labels: (n,) their labels; likewise.
            device: of the generator, where the batch will be.
        """
        drawn = self.drawn[torch.randint(len(self.drawn), (len(labels),), generator=self.source)]
        replayed = torch.isin(drawn, self.remaining)
        latents = self.pretrained.latents(int(replayed.sum()), self.source)
        noise = int(torch.randint(2**62, (), generator=self.source))  # StyleGAN's
        images, labels = images.to(device, copy=True), labels.to(device, copy=True)
        if replayed.any():
            wanted = drawn[replayed].to(device)
            with seeded(noise, device):
                made = self.pretrained.images(latents.to(device), wanted)
            where = replayed.to(device)
            images[where], labels[where] = made.to(images.dtype), wanted.to(labels.dtype)
        self.batches.append(ReplayedBatch(labels, replayed.to(device), latents.to(device)))
        return images, labels

    @property
    def random_sources(self) -> dict[str, torch.Generator]:
        """The sources that are drawn from, by name."""
        return {"replay": self.source}
