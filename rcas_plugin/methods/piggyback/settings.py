"""The keys of `method: piggyback`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rcas_plugin.errors import RcasError
from rcas_plugin.settings.common import CommonSettings, Section

#: `filters.how` -> the keys beside it that it looks at.
_LOOKED_AT = {"fixed": {"part"}, "layer": {"ratio", "floor"}, "mirrored": {"ratio", "floor", "ends"}, "task": set[str]()}


class FiltersSettings(Section):
    """Lambda, the part of each layer's filters that is the task's own (`rcas_plugin.methods.piggyback.schedule`)."""

    how: Literal["fixed", "layer", "mirrored", "task"] = Field(
        "fixed",
        description="one part for all layers; rising to the last; falling from both ends to the middle; or measured: the "
        "distance of the new class's images from the base's, in D's features",
    )
    part: float = Field(0.25, gt=0, le=1, description="for fixed: the part of each layer's filters that is the task's own")
    ratio: float = Field(0.8, gt=0, le=1, description="for layer and mirrored: a layer's part, of that of the next one")
    floor: float = Field(0.0, ge=0, le=1, description="for layer and mirrored: the least part; 0.125 in published variants")
    ends: float = Field(0.8, gt=0, le=1, description="for mirrored: the part of the first layer")


class PiggybackSettings(CommonSettings):
    """The `RCAS` section of `method: piggyback`."""

    filters: FiltersSettings = Field(default_factory=FiltersSettings)
    init: Literal["identity", "published"] = Field(
        "identity", description="start as the base, or as published from small random numbers"
    )
    linear0: Literal["frozen", "copy"] = Field(
        "frozen", description="G's input layer: the base's, or one of the task's own, which is an eighth of a small G"
    )

    def check(self) -> None:
        super().check()
        ignored = sorted(self.filters.model_fields_set - {"how"} - _LOOKED_AT[self.filters.how])
        if ignored:
            takers = " or ".join(how for how, keys in _LOOKED_AT.items() if ignored[0] in keys)
            raise RcasError(
                f"RCAS.filters.{ignored[0]}: it does nothing with how: {self.filters.how}; leave it out, or set how to {takers}"
            )
