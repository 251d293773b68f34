"""What is recorded of the images that a run's labels were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcas_plugin.record import read_record
from rcas_plugin.registry import methods
from rcas_plugin.settings import CommonSettings


def images_seen(
    shown: Mapping[str, Any] | None, settings: CommonSettings | None, ckpt_dir: str | Path | None
) -> dict[str, Any] | None:
    """The record's `images`: what the images of all labels were; None where nothing says it.

    Args:
        shown: those that training is shown (`data.look.seen`).
        settings: of a swap. Where its method shows new classes alone, the others' images are those of the run before.
        ckpt_dir: of the run before.
    """
    if shown is None or settings is None or ckpt_dir is None or methods[settings.method].shown(settings) == "all":
        return None if shown is None else dict(shown)
    before = read_record(ckpt_dir).images
    return None if before is None else {**shown, "gray": shown["gray"] and before.gray}
