"""What is recorded of the images that a run's labels were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcas_plugin.record import Record


def images_seen(shown: Mapping[str, Any] | None, before: Record | None) -> dict[str, Any] | None:
    """The record's `images`: what the images of the labels were; None where nothing says it.

    Args:
        shown: those that training is shown (`data.look.seen`).
        before: of the run that this one starts from, where training shows no images of the remaining labels.
    """
    if shown is None or (before is not None and before.images is None):
        return None
    return {**shown, "gray": shown["gray"] and (before is None or before.images is None or before.images.gray)}
