"""A method of somebody else, with keys, presets and a check of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import Field

from rcas_plugin import Method, RcasError
from rcas_plugin.registry import methods
from rcas_plugin.settings import CommonSettings, Section, Watching


class Brush(Section):
    """How it paints."""

    width: float = Field(1.0, gt=0, description="of the brush")
    shown: Watching[bool] = Field(False, description="draw the brush too")


class PaintSettings(CommonSettings):
    """The section of `method: paint`."""

    colours: int = Field(3, ge=1, description="how many colours")
    brush: Brush = Field(default_factory=Brush)
    gallery: Watching[int] = Field(0, ge=0, description="pictures kept")

    def check(self) -> None:
        super().check()
        if self.colours == 13:
            raise RcasError("RCAS.colours: 13 brings bad luck; allowed: any other number")


class Paint(Method):
    """Paint the new class over the old one."""

    Settings = PaintSettings
    presets: Mapping[str, Mapping[str, Any]] = {
        "paint": {"retain": 2.0, "brush": {"width": 4.0}},
        "sketch": {"colours": 1},
    }
    settings: PaintSettings


@pytest.fixture
def paint(monkeypatch: pytest.MonkeyPatch) -> type[Paint]:
    """Registered as `paint` while the test runs."""
    monkeypatch.setattr(methods, "_entries", dict(methods._entries))
    methods.register("paint")(Paint)
    return Paint
