"""The keys of `method: bn_propagation`, and its preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from rcas_plugin.methods.label_start import LabelStartSettings
from rcas_plugin.settings.common import CommonSettings, Section


class StagesSettings(Section):
    """The steps of the two stages, which together are the run (`rcas_plugin.methods.bn_propagation.method`)."""

    bn: int | None = Field(
        None,
        ge=0,
        description="steps that train scores, residuals and tables alone; a tenth if empty, all for a class of under 100 images",
    )
    ft: int | None = Field(None, ge=0, description="steps that then train all but scores and tables; the rest if empty")


class PropagationSettings(Section):
    """The penalties on scores and residuals (`rcas_plugin.methods.bn_propagation.method`)."""

    l1: float = Field(0.01, ge=0, description="weight of the mean absolute similarity score in G's loss")
    l2: float = Field(0.01, ge=0, description="weight of the mean squared residual in G's loss")


class BnPropagationSettings(CommonSettings):
    """The `RCAS` section of `method: bn_propagation`."""

    label_start: LabelStartSettings = Field(default_factory=LabelStartSettings)
    stages: StagesSettings = Field(default_factory=StagesSettings)
    propagation: PropagationSettings = Field(default_factory=PropagationSettings)


PRESETS: Mapping[str, Mapping[str, Any]] = {"bn_propagation": {"label_start": {"how": "match"}, "retain": 10.0}}
