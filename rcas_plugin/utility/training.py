"""The training of one classifier: every class is drawn alike, real and generated images in a fixed proportion."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rcas_plugin.data.stock import Stock, as_floats
from rcas_plugin.gan import default_device, seeded
from rcas_plugin.utility.augment import augment
from rcas_plugin.utility.network import SmallResNet

#: The largest learning rate of the schedule, and the weight decay.
RATE, DECAY = 4e-3, 5e-4


@dataclass(frozen=True)
class Mixture:
    """What a classifier is trained on.

    Attributes:
        real: None where no real image is shown.
        fake: None where no generated image is.
        amount: generated images shown for each real one, 0 without any.
        everywhere: true where generated images of every class are shown, else of `new` alone.
        new: the new class.
        augmented: by classical augmentation, real and generated images alike.
    """

    real: Stock | None
    fake: Stock | None = None
    amount: float = 0.0
    everywhere: bool = True
    new: int = 0
    augmented: bool = False

    def draw(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch: images (count, channels, height, width) in [-1, 1], and their classes (count,)."""
        stock = self.real or self.fake
        assert stock is not None
        labels = torch.randint(len(stock.counts), (count,), generator=source)
        if self.real is None or self.fake is None:
            return stock.draw(labels, source), labels
        generated = torch.rand(count, generator=source) < self.amount / (1 + self.amount)
        if not self.everywhere:
            generated &= labels == self.new
        images = torch.empty(count, *stock.images.shape[1:])
        images[generated] = self.fake.draw(labels[generated], source)
        images[~generated] = self.real.draw(labels[~generated], source)
        return images, labels


def train_detector(
    mixture: Mixture, *, steps: int, batch_size: int = 64, seed: int = 0, flip: bool = True, device: torch.device | None = None
) -> SmallResNet:
    """A classifier trained on a mixture, in evaluation mode; each mixture has as many steps as any other."""
    where = device or default_device()
    stock = mixture.real or mixture.fake
    assert stock is not None
    source = torch.Generator().manual_seed(seed)
    with seeded(seed, where):
        model = SmallResNet(stock.images.shape[1], len(stock.counts)).to(where)
        model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=max(2, steps))
        model.train()
        for _ in range(steps):
            images, labels = (tensor.to(where) for tensor in mixture.draw(batch_size, source))
            if mixture.augmented:
                images = augment(images, source, flip=flip)
            loss = F.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    return model


@torch.no_grad()
def logits_of(model: SmallResNet, images: Tensor) -> Tensor:
    """Logits (n, classes) on the CPU, of uint8 images (n, channels, height, width)."""
    device = model.head.weight.device
    return torch.cat([model(as_floats(part).to(device)).float().cpu() for part in images.split(256)])


@torch.no_grad()
def features_of(model: SmallResNet, images: Tensor) -> Tensor:
    """Features (n, d) on the CPU, of uint8 images."""
    device = model.head.weight.device
    return torch.cat([model.features(as_floats(part).to(device)).float().cpu() for part in images.split(256)])


def balanced_loss(logits: Tensor, labels: Tensor, new: int) -> float:
    """Cross-entropy in which the new class weighs as much as all others together, and those weigh alike; both must be there."""
    losses = F.cross_entropy(logits, labels, reduction="none")
    by_class = {int(label): float(losses[labels == label].mean()) for label in labels.unique()}
    others = [loss for label, loss in by_class.items() if label != new]
    return (by_class[new] + sum(others) / len(others)) / 2
