"""The features that a class's images have in D, and how far generated images are from them.

Feature matching (Salimans et al., 2016, "Improved techniques for training GANs") in every layer of D: for each convolution, and
for D's last features, the mean map over images and the standard deviation over images of the map's spatial mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from rcas_plugin.gan import discriminate, part_sizes
from rcas_plugin.weights.synapses import find_synapses


class LayerFeatures:
    """D's features of images, layer by layer; D is hooked until the end of the `with` block.

    Args:
        discriminator: D, as StudioGAN calls it.
    """

    def __init__(self, discriminator: nn.Module) -> None:
        self.discriminator = discriminator
        self._outputs: list[Tensor] = []
        convolutions = [synapse.module for synapse in find_synapses(discriminator, frozenset({"conv"})).values()]
        self._handles = [module.register_forward_hook(self._record) for module in convolutions]

    def __enter__(self) -> LayerFeatures:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()

    def _record(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        self._outputs.append(output)
        return output.clone()  # an activation that follows in place must not change what was recorded

    def __call__(self, images: Tensor, label: int) -> list[Tensor]:
        """The features of images (n, channels, height, width) under a label, (n, c, …) layer by layer in the order of calls."""
        labels = torch.full((len(images),), label, device=images.device)
        passes = []
        sizes = part_sizes(self.discriminator, len(images))
        for part, part_labels in zip(images.split(sizes), labels.split(sizes), strict=True):
            self._outputs.clear()
            outputs = discriminate(self.discriminator, part, part_labels)
            if outputs.get("h") is not None:  # D's last features, of all blocks together
                self._outputs.append(outputs["h"][..., None])
            passes.append([layer[: len(part)] for layer in self._outputs])
        self._outputs.clear()
        return [torch.cat(layers) for layers in zip(*passes, strict=True)] if len(passes) > 1 else passes[0]


class FeatureTarget:
    """The moments of a class's real images in D's layers, and the distance of generated images from them.

    Args:
        features: of D, which is frozen and in evaluation mode as long as the target is used.
        label: that the images go under.
        real: images (n, channels, height, width) in [-1, 1], on D's device; read part by part.
        batch_size: images a part.
    """

    @torch.no_grad()
    def __init__(self, features: LayerFeatures, label: int, real: Tensor, batch_size: int = 32) -> None:
        self.features, self.label = features, label
        self.moments = _moments_of_all(features, label, real, batch_size)

    def distance(self, images: Tensor) -> Tensor:
        """The squared error of each moment, relative to the real images', summed over layers: a scalar with its graph.

        Args:
            images: (n, channels, height, width) in [-1, 1], at least two.
        """
        pairs = zip(_moments(self.features(images, self.label)), self.moments, strict=True)
        relative = [(of - to).square().mean() / to.square().mean().clamp_min(1e-12) for of, to in pairs if not to.isnan().any()]
        return torch.stack(relative).sum()


def _moments(features: Sequence[Tensor]) -> list[Tensor]:
    """For each layer the mean over images of the map, and the standard deviation over images of its spatial mean."""
    moments = []
    for layer in features:
        values = layer.float()
        moments += [values.mean(0), values.flatten(2).mean(2).std(0)]
    return moments


def _moments_of_all(features: LayerFeatures, label: int, images: Tensor, batch_size: int) -> list[Tensor]:
    """`_moments` of all images together; only sums of maps are kept from part to part."""
    sums: list[Tensor] = []
    spatial: list[list[Tensor]] = []
    for part in images.split(batch_size):
        maps = [values.float() for values in features(part, label)]
        totals = [values.sum(0) for values in maps]
        sums = [before + now for before, now in zip(sums, totals, strict=True)] if sums else totals
        spatial.append([values.flatten(2).mean(2) for values in maps])
    moments = []
    for total, *means in zip(sums, *spatial, strict=True):
        of_all = torch.cat(means)
        spread = of_all.std(0) if len(of_all) > 1 else torch.full_like(of_all[0], torch.nan)  # one image has none
        moments += [total / len(images), spread]
    return moments
