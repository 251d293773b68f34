"""The start values of the slot's own columns and embedding rows, before fine-tuning.

The columns that only the slot's label reaches are few, so they can be fitted to the new class before anything else moves: every
other label stays exactly as it was, and the old class is gone from the slot as the new one comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from tqdm.auto import tqdm

from rcas_plugin.gan import GENERATOR, Gan, device_of, frozen_eval, generate, seeded
from rcas_plugin.methods.features import FeatureTarget, LayerFeatures
from rcas_plugin.settings.common import Section
from rcas_plugin.weights.accelerate import autocast
from rcas_plugin.weights.label_bound import LabelBound, find_label_bound


class LabelStartSettings(Section):
    """The start of the parameters that only the slot's label reaches: keys of each method that calls this module."""

    how: Literal["keep", "mean", "match"] = Field(
        "keep", description="the old class's values, the mean of the remaining labels', or matched to the new class's images"
    )
    iterations: int | None = Field(
        None,
        gt=0,
        description="for match: updates of the slot's columns, each less than a training step; 60 if empty, "
        "in bn_propagation 150 for a class of under 100 images",
    )
    batch_size: int = Field(32, gt=1, description="for match: generated images an update")
    lr: float = Field(0.05, gt=0, description="for match: Adam's")
    images: int = Field(512, gt=0, description="for match: real images of the new class, at the most")


@torch.no_grad()
def start_at_mean(gan: Gan, num_classes: int, slots: Sequence[int], remaining: Sequence[int]) -> None:
    """Set the slots' own rows and columns, in G and D, to the mean of the remaining labels'."""
    for bound in find_label_bound(gan, num_classes):
        mean = torch.stack([bound.of(label) for label in remaining]).mean(0)
        for copy in _copies(gan, bound):
            copy.hold_norm(slots)
            for slot in slots:
                copy.of(slot).copy_(mean)


#: Updates of the slot's columns where nothing else is asked for.
UPDATES = 60


def match_features(
    gan: Gan,
    num_classes: int,
    slot: int,
    real: Tensor,
    *,
    iterations: int = UPDATES,
    batch_size: int = 32,
    lr: float = 0.05,
    seed: int = 0,
    accelerated: bool = False,
    progress: bool = True,
) -> list[float]:
    """Fit the slot's own columns in G to the features that the new class's images have in D, layer by layer.

    For each convolution of D, and for its last features, the loss is the squared error of the mean map over images and of the
    standard deviation of the maps' spatial means, each relative to the real images' own. D and the rest of G are frozen, in
    evaluation mode. Under spectral norm in G the columns stay within the norm (`SpectralNorm.limit`).

    Args:
        gan: edited in place, G's moving average as well.
        num_classes: K.
        slot: the label.
        real: images of the new class (n, channels, height, width) in [-1, 1].
        iterations: updates of the slot's columns, each about half the work of a training step.
        batch_size: generated images an update.
        lr: of Adam.
        seed: of the latents.
        accelerated: bfloat16 where the processor has it.
        progress: show a progress bar once it takes over two seconds.

    Returns:
        The loss before each update; empty where no label has a column of its own in G.
    """
    weights = [bound for bound in find_label_bound(gan, num_classes) if bound.role == GENERATOR]
    if not weights:
        return []

    for bound in weights:
        for copy in _copies(gan, bound):
            copy.hold_norm([slot])

    limits = [bound.limit(slot) for bound in weights]

    def only_the_slot() -> None:
        for bound in weights:
            _keep_only(bound, slot)

    def within_the_norm() -> None:
        for bound, nearest in zip(weights, limits, strict=True):
            bound.of(slot).copy_(nearest(bound.of(slot)))

    losses = fit_features(
        gan, slot, real, [bound.weight for bound in weights], only_the_slot, within_the_norm,
        iterations=iterations, batch_size=batch_size, lr=lr, seed=seed, accelerated=accelerated, progress=progress,
    )  # fmt: skip
    with torch.no_grad():
        for bound in weights:
            for copy in _copies(gan, bound):
                copy.of(slot).copy_(bound.of(slot))
    return losses


def fit_features(
    gan: Gan,
    label: int,
    real: Tensor,
    parameters: Sequence[nn.Parameter],
    after_backward: Callable[[], None],
    after_update: Callable[[], None],
    *,
    iterations: int,
    batch_size: int,
    lr: float,
    seed: int = 0,
    accelerated: bool = False,
    progress: bool = True,
) -> list[float]:
    """Fit any parameters of G so that the label's images have the real images' features in D, as `match_features` does.

    Args:
        parameters: of G; fitted in place, and left without a gradient.
        after_backward: called between the gradients and the update, to drop those that are not wanted.
        after_update: called without gradients after each update, to keep the parameters within limits.

    Returns:
        The loss before each update.
    """
    device, source = device_of(gan.generator), torch.Generator().manual_seed(seed)
    losses = []
    with frozen_eval(gan.generator, gan.discriminator), seeded(seed, device), LayerFeatures(gan.discriminator) as features:
        with autocast(device, accelerated):
            target = FeatureTarget(features, label, real.to(device), batch_size)
        for parameter in parameters:
            parameter.requires_grad_(True)
        optimizer = torch.optim.Adam(parameters, lr)
        bar = tqdm(range(iterations), desc="matching the new class", unit="update", delay=2,
                   disable=None if progress else True)  # fmt: skip
        for _ in bar:
            z = gan.latents(batch_size, source).to(device)
            labels = torch.full((batch_size,), label, device=device)
            with autocast(device, accelerated), torch.enable_grad():
                loss = target.distance(generate(gan.generator, z, labels))
            optimizer.zero_grad()
            loss.backward()
            after_backward()
            optimizer.step()
            with torch.no_grad():
                after_update()
            losses.append(float(loss.detach()))
    for parameter in parameters:
        parameter.grad = None
    return losses


def _keep_only(bound: LabelBound, slot: int) -> None:
    """Drop the gradient of other labels: under spectral norm every column has one, through the norm."""
    gradient = bound.weight.grad
    assert gradient is not None
    own_gradient = bound.of(slot, gradient).clone()
    bound.of(slot, gradient.zero_()).copy_(own_gradient)


def _copies(gan: Gan, bound: LabelBound) -> list[LabelBound]:
    if bound.role == GENERATOR and gan.ema is not None:
        return [bound, bound.in_model(gan.ema)]
    return [bound]
