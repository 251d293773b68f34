"""The discriminator that reads a classifier's hidden features: Genifer's, in StudioGAN's calling convention."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from rcas_plugin.methods.feature_replay.classifier import FeatureClassifier
from rcas_plugin.weights.adapters import ADDED

#: Numbers of the projection: of the features' last layer, and of a label's embedding.
PROJECTION = 128
#: Height and width at which the convolutions end.
LAST = 4


class MinibatchDeviation(nn.Module):
    """Appends a channel with the mean standard deviation over a group of images (Karras et al., 2018).

    Args:
        group_size: the most images of a group; a batch is made of groups of one size, the largest that divides it.
    """

    def __init__(self, group_size: int) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        group = next(size for size in range(min(self.group_size, len(x)), 0, -1) if len(x) % size == 0)
        groups = x.view(group, -1, *x.shape[1:])
        deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        channel = deviation.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
        return torch.cat([x, channel], 1)


class FeatureDiscriminator(nn.Module):
    """Logits (n,) for hidden features (n, channels, height, width) and labels (n,), by projection (Miyato and Koyama, 2018).

    Convolutions that halve the features down to 4x4, the deviation over the batch, one more convolution, a linear layer, and the
    product with the label's embedding over the root of its length. No spectral norm: the penalty on gradients stands for it.

    Args:
        in_channels: of the features.
        size: their height and width.
        num_classes: labels of the GAN.
        channels: of the convolutions.
        group_size: images of a group whose deviation is seen.
    """

    def __init__(self, in_channels: int, size: int, num_classes: int, *, channels: int = 64, group_size: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1), nn.LeakyReLU(0.2)]
        while size > LAST:
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
            size //= 2
        self.body = nn.Sequential(*layers)
        self.deviation = MinibatchDeviation(group_size)
        self.last = nn.Sequential(nn.Conv2d(channels + 1, channels, 3, padding=1), nn.LeakyReLU(0.2), nn.Flatten())
        self.project = nn.Linear(channels * size * size, PROJECTION, bias=False)
        self.embedding = nn.Embedding(num_classes, PROJECTION)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.2)
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, hidden: Tensor, labels: Tensor) -> Tensor:
        features = self.project(self.last(self.deviation(self.body(hidden))))
        return cast(Tensor, (features * self.embedding(labels)).sum(1) / math.sqrt(PROJECTION))


class JudgedFeatures:
    """The forward pass of a discriminator that judges a classifier's hidden features of images.

    It stands at `network.forward`, so that the network keeps its own layers, unused and unchanged, and any StudioGAN loads what
    is folded. The classifier is held and not a part of the network: neither `train()` nor an optimiser reaches it, and gradients
    pass through it to the generator.

    Args:
        network: the discriminator; its `rcas` is a `FeatureDiscriminator`.
        classifier: frozen, in evaluation mode, on the network's device.
    """

    def __init__(self, network: nn.Module, classifier: FeatureClassifier) -> None:
        self.network, self.classifier = network, classifier

    def __call__(self, images: Tensor, label: Tensor, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """StudioGAN's dictionary: `adv_output` (n,), `h` (n, channels), `label`; and `hidden`, what was judged."""
        hidden = self.classifier.hidden(images)
        judge = cast(FeatureDiscriminator, getattr(self.network, ADDED))
        return {"adv_output": judge(hidden, label), "h": hidden.mean((2, 3)), "label": label, "hidden": hidden}


def gradient_penalty(judge: FeatureDiscriminator, hidden: Tensor, labels: Tensor) -> Tensor:
    """`mean |d D(h, y) / d h|^2` over real images' features (Mescheder et al., 2018): not with respect to the images.

    Args:
        judge: D.
        hidden: (n, channels, height, width); no gradient goes further back.
        labels: (n,).
    """
    features = hidden.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(judge(features, labels).sum(), features, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()
