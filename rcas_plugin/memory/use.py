"""All tasks of a lineage by one generator, drawn."""

from __future__ import annotations

from pathlib import Path

import torch

from rcas_plugin.checkpoints.router import routing_of
from rcas_plugin.gan import sample_images
from rcas_plugin.report.pictures import draw_before_after
from rcas_plugin.sampling.run import OpenRun


def draw_tasks(opened: OpenRun, path: Path, *, images: int = 8, seed: int = 0) -> list[str]:
    """Draw a row of images a label, each by the state that the lineage makes it with.

    Args:
        opened: the run.
        path: of the PNG.
        images: a label.
        seed: of the latents, the same ones for each label.

    Returns:
        For each label which class it shows, and which state makes it.
    """
    generator, count = opened.gan.evaluated, len(opened.labels)
    rows = dict(enumerate(made_by(opened)))
    shown = torch.cat([sample_images(generator, torch.full((images,), label), opened.gan.latents, seed=seed) for label in rows])
    draw_before_after(path, {"": (shown, torch.arange(count).repeat_interleave(images))}, rows, per_cell=images)
    return list(rows.values())


def made_by(opened: OpenRun) -> list[str]:
    """For each label its class, and the state that makes it in the opened generator."""
    names = [name or f"label {label}" for label, name in enumerate(opened.labels)]
    if routing_of(opened.gan.evaluated) is None:
        return [f"{name}: the run itself" for name in names]
    last = len(opened.lineage.tasks) + 1
    words = {0: "the base", last: f"task {last}, the run's own"}
    return [
        f"{name}: {words.get(route.state, f'task {route.state}')}"
        for name, route in zip(names, opened.lineage.routes, strict=True)
    ]


def image_change(one: OpenRun, other: OpenRun, *, images: int = 16, seed: int = 0) -> float:
    """The mean absolute difference, of 255, between two runs' images of their new classes, for the same latents.

    Args:
        one: a run.
        other: another of the same labels.
        images: a label.
        seed: of the latents.
    """
    labels = torch.tensor(one.slots).repeat_interleave(images)
    shown = [sample_images(opened.gan.evaluated, labels, one.gan.latents, seed=seed) for opened in (one, other)]
    return float((shown[0] - shown[1]).abs().mean()) * 127.5
