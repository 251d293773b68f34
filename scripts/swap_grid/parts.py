"""The parts of the grid: data set, networks, training and class pairs of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Pair = tuple[tuple[str, ...], tuple[str, ...]]
OPTIONS: dict[str, Any] = {"batch_size": 32, "g_lr": 2e-4, "d_lr": 2e-4, "beta1": 0.5, "beta2": 0.999}


@dataclass(frozen=True)
class Part:
    """One part of the grid.

    Attributes:
        dataset: `mnist`, `cifar` or `tiles`.
        pairs: (slots, their new classes) by the names of the classes; the new ones are not among the pre-trained ones.
        steps: of every run.
        pretrain_steps: of the GAN that the runs start from.
        size: of the images.
        widths: `g_conv_dim` and `d_conv_dim` of the networks.
        pretrain_options: of the pre-training's optimisers and steps.
        judge_epochs: of the classifiers that judge.
        slot_images: generated images of the slots together that are judged at a time.
        images: likewise of each remaining label.
        backbone: `resnet`, the embedded networks; or one of StudioGAN's, which then has to be there.
    """

    dataset: str
    pairs: tuple[Pair, ...]
    steps: int
    pretrain_steps: int
    size: int = 32
    widths: tuple[int, int] = (16, 32)
    pretrain_options: Mapping[str, Any] = field(default_factory=lambda: {**OPTIONS, "d_updates_per_step": 2})
    judge_epochs: int = 4
    slot_images: int = 1000
    images: int = 100
    backbone: str = "resnet"


def _one(olds: tuple[str, ...], new: str) -> tuple[Pair, ...]:
    return tuple(((old,), (new,)) for old in olds)


MNIST_PAIRS: tuple[Pair, ...] = tuple(((old,), (new,)) for old, new in ("90", "40", "70", "15", "35", "85"))
CIFAR_PAIRS = _one(("truck", "cat", "horse", "ship", "frog", "bird"), "airplane")
TILE_PAIRS = _one(("blowhole", "fray", "uneven"), "crack")
#: Quicker pre-training of narrow networks.
QUICK = {**OPTIONS, "g_lr": 4e-4, "d_lr": 4e-4}
PARTS: dict[str, Part] = {
    "mnist": Part("mnist", MNIST_PAIRS, 720, 2500),
    "cifar": Part("cifar", CIFAR_PAIRS, 480, 6000, judge_epochs=20),
    "transfer": Part("mnist", ((tuple("01234"), tuple("56789")),), 720, 2500),
    "tiles": Part("tiles", TILE_PAIRS, 480, 6000, judge_epochs=40),
    # narrower networks and fewer steps, for a processor without fast convolutions
    "mnist, narrow": Part("mnist", MNIST_PAIRS[:3], 240, 2000, 16, (8, 16), QUICK, 2, 500, 60),
    "cifar, narrow": Part("cifar", CIFAR_PAIRS[:3], 240, 2500, 16, (8, 16), QUICK, 12, 500, 60),
    "tiles, narrow": Part("tiles", TILE_PAIRS, 240, 4000, 32, (8, 16), QUICK, 40, 500, 60),
    "tiles, narrow, big_resnet": Part("tiles", TILE_PAIRS, 240, 4000, 32, (8, 16), QUICK, 40, 500, 60, "big_resnet"),
}
