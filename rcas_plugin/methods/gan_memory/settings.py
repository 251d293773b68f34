"""The keys of `method: gan_memory`."""

from __future__ import annotations

from pydantic import Field

from rcas_plugin.settings.common import CommonSettings


class GanMemorySettings(CommonSettings):
    """The `RCAS` section of `method: gan_memory`."""

    style_discriminator: bool = Field(True, description="learn a style of D's convolutions too; else its head alone is trained")
