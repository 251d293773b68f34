"""Importance for whole batches against the loop of one backward pass a sample, and on the device against the CPU."""

from __future__ import annotations

from typing import Any

import torch
from bench_importance import measure

from gpu_check.report import Report
from gpu_check.requirements import ROOT
from gpu_check.setup import Setup
from gpu_check.timing import median_seconds
from rcas_plugin import select_synapses, synapse_importance
from rcas_plugin.embedded.loop import load_gan
from rcas_plugin.importance.per_sample import _grouped, _unfolded
from rcas_plugin.importance.selection import overlap

#: On a GPU the whole batch is to be so many times as fast as the loop.
AIM = 30.0
EXACT = 1e-6


def run(setup: Setup, report: Report) -> None:
    report.put("beside the CPU", _beside_the_cpu(setup))
    shared = report.figures["beside the CPU"]["selection_overlap"]
    report.check(shared > 0.95, f"the selections of both devices share {shared:.1%}")
    report.put("per-sample gradient of a convolution", _ways_of_a_convolution(setup))
    size = {"samples": 8, "repeats": 1} if setup.reduced else {"samples": 256, "repeats": 3}
    for name, tf32 in (("as torch computes", True), ("without TF32", False)):
        found = measure(torch.device(setup.device), ckpt=None, tf32=tf32, **size)
        report.put(name, found)
        exact = found["per_sample"]["relative_to_the_loop_in_float64"]
        report.check(exact < EXACT, f"importance differs from its loop by a relative {exact:.1e} in float64")
        if setup.device == "cpu":
            break
    times = report.figures["as torch computes"]["per_sample"]["times_faster_than_the_loop"]
    report.put("aim", {"times_faster_than_the_loop": AIM, "measured": times, "reached": times >= AIM})


def _beside_the_cpu(setup: Setup) -> dict[str, Any]:
    """The quickstart's GAN, newly drawn, with the same latents on both devices."""
    gan = load_gan(ROOT / "configs" / "digits" / "pretrain.yaml", None)
    found = []
    for device in ("cpu", setup.device):
        networks = (gan.generator.to(device), gan.discriminator.to(device))
        found.append(synapse_importance(*networks, labels=[8], num_samples=8 if setup.reduced else 64, progress=False))
    error = max(
        float((found[1].weights[role][name].cpu() - value).abs().max() / value.abs().max().clamp_min(1e-12))
        for role, weights in found[0].weights.items()
        for name, value in weights.items()
    )
    selections = [select_synapses(one) for one in found]
    moved = {role: {name: mask.cpu() for name, mask in masks.items()} for role, masks in selections[1].masks.items()}
    return {"largest_relative_difference": error, "selection_overlap": overlap(selections[0], type(selections[1])(moved))}


def _ways_of_a_convolution(setup: Setup) -> dict[str, Any]:
    """Seconds of both ways to one gradient a sample, for 64 channels at 32x32; a GPU takes the unfolded one now."""
    device, count = torch.device(setup.device), 4 if setup.reduced else 64
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(device)
    images, gradient = (torch.randn(count, 64, 32, 32, device=device) for _ in range(2))
    ways = {"grouped": _grouped, "unfolded": _unfolded}
    with torch.no_grad():
        return {
            name: median_seconds(lambda way=way: way(layer, layer.weight, images, gradient), device, 3)  # type: ignore[misc]
            for name, way in ways.items()
        }
