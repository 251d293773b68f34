"""The keys of `method: feature_replay`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from rcas_plugin.settings.common import CommonSettings, PathKey, Section


class ClassifierSettings(Section):
    """The classifier that is trained where no file of one is named, on what the swap shows, replayed images among it."""

    width: int = Field(16, ge=1, description="channels of its first stage (64 is ResNet-18's)")
    depth: int = Field(1, ge=1, description="blocks of a stage (2 is ResNet-18's)")
    images: int = Field(250, ge=1, description="images a label that it, and a new D, are trained on")
    epochs: int = Field(8, ge=1, description="passes over them")


class PenaltySettings(Section):
    """The penalty on D's gradient with respect to the features of real images (R1)."""

    weight: float = Field(0.5, ge=0, description="its half is multiplied by the mean squared norm")
    every: int = Field(16, ge=1, description="computed at one step in so many, and counted so many times there")


class FeatureReplaySettings(CommonSettings):
    """The `RCAS` section of `method: feature_replay`."""

    classifier: PathKey = Field(
        None, description="a classifier.safetensors of rcas classify, whose hidden features D judges; without one it is trained"
    )
    train_classifier: ClassifierSettings = Field(default_factory=ClassifierSettings)
    channels: int = Field(64, ge=1, description="of D's convolutions on the features")
    group_size: int = Field(32, ge=1, description="images whose deviation D sees together")
    r1: PenaltySettings = Field(default_factory=PenaltySettings)
    warm_up: int = Field(
        100,
        ge=0,
        description="updates of a new D before the first step, G as it is; none where D goes on from a swap before, which "
        "it does beside a given classifier",
    )


#: Half of each batch is of remaining labels, drawn by the pre-trained generator, and G is held to it there.
PRESETS: dict[str, dict[str, Any]] = {"feature_replay": {"remaining_data": "replay", "share": 0.5, "retain": 10.0}}
