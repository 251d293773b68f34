"""Pictures and JSON of a label's importance, layer by layer and against the other labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from tqdm.auto import tqdm

from rcas_plugin.files import remove_leftovers, write_json
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan
from rcas_plugin.importance.estimate import Estimator, Importance, synapse_importance
from rcas_plugin.importance.selection import overlap, select_synapses
from rcas_plugin.report.fonts import arrange, legible
from rcas_plugin.report.pictures import new_figure, save_figure

ROLES = (GENERATOR, DISCRIMINATOR)


@dataclass(frozen=True)
class Look:
    """The importance of every label by itself, and the labels that are asked about.

    Attributes:
        by_label: label -> its importance.
        targets: the labels that are asked about.
        names: what stands behind each label.
        top: the part of each layer that counts as a label's top set.
    """

    by_label: Mapping[int, Importance]
    targets: Sequence[int]
    names: Sequence[str]
    top: float

    @property
    def target(self) -> Importance:
        return _mean([self.by_label[label] for label in self.targets])

    @property
    def remaining(self) -> Importance:
        return _mean([importance for label, importance in self.by_label.items() if label not in self.targets])


def inspect_importance(
    gan: Gan,
    targets: Sequence[int],
    names: Sequence[str],
    *,
    samples: int = 512,
    estimator: Estimator = "per_sample",
    objective: str = "adv_output",
    top: float = 0.1,
    seed: int = 0,
) -> Look:
    """Estimate the importance of every label of a GAN, `samples` images each."""
    by_label = {
        label: synapse_importance(gan.generator, gan.discriminator, labels=[label], num_samples=samples, estimator=estimator,
                                  objective=objective, latents=gan.latents, seed=seed)
        for label in tqdm(range(len(names)), desc="labels", unit="label", disable=None)
    }  # fmt: skip
    return Look(by_label, targets, names, top)


def write_look(look: Look, folder: Path) -> dict[str, Any]:
    """Write `importance.json` and its pictures into a folder; returns what the JSON holds."""
    remove_leftovers(folder)
    target, remaining = look.target, look.remaining
    shared = overlaps(look)
    summary = {
        "targets": list(look.targets),
        "labels": list(look.names),
        "settings": {key: value for key, value in target.settings.items() if key != "labels"},
        "top": look.top,
        "layers": {role: _layers(target, remaining, role) for role in ROLES},
        "overlap": shared,
    }
    write_json(folder / "importance.json", summary)
    for role in ROLES:
        draw_heat_maps(folder / f"heat_maps_{role}.png", target, role)
    draw_histograms(folder / "histogram.png", target, remaining)
    draw_overlaps(folder / "overlap.png", shared, look.names)
    return summary


def overlaps(look: Look) -> dict[str, list[list[float]]]:
    """Role -> the part that the top sets of each two labels share (|A and B| / |A or B|)."""
    chosen = [select_synapses(importance, ratio=look.top) for importance in look.by_label.values()]
    matrices: dict[str, list[list[float]]] = {}
    for role in ROLES:
        of_role = [type(selection)({role: selection.masks[role]}) for selection in chosen]
        matrices[role] = [[overlap(first, second) for second in of_role] for first in of_role]
    return matrices


def _mean(several: Sequence[Importance]) -> Importance:
    first = several[0]
    weights = {
        role: {name: torch.stack([each.weights[role][name] for each in several]).mean(0) for name in first.weights[role]}
        for role in first.weights
    }
    return Importance(weights, first.kinds, first.settings)


def _layers(target: Importance, remaining: Importance, role: str) -> dict[str, Any]:
    rows = {}
    for name, weight in target.weights[role].items():
        rest = remaining.weights[role][name]
        correlation = (
            stats.spearmanr(weight.flatten().cpu().numpy(), rest.flatten().cpu().numpy()).statistic if weight.any() else math.nan
        )
        rows[name] = {
            "kind": target.kinds[role][name],
            "shape": list(weight.shape),
            "mean": float(weight.mean()),
            "mean_remaining": float(rest.mean()),
            "rank_correlation": None if math.isnan(correlation) else float(correlation),
        }
    return rows


# pictures --------------------------------------------------------------------------------------------------------------


def draw_heat_maps(path: Path, importance: Importance, role: str, columns: int = 5) -> None:
    """Draw one panel a weight: outputs down, inputs across, the mean over the kernel, on a logarithmic scale of its own."""
    weights = importance.weights[role]
    rows = math.ceil(len(weights) / columns)
    figure = new_figure(2.5 * columns, 2.3 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (name, weight) in zip(axes, weights.items(), strict=False):
        image = axis.imshow(_logarithm(_as_matrix(weight)), aspect="auto", cmap="viridis", interpolation="nearest")
        axis.set_title(legible(name.removesuffix(".weight_orig").removesuffix(".weight")), fontsize=7)
        axis.tick_params(labelsize=6)
        bar = figure.colorbar(image, ax=axis, fraction=0.06, pad=0.03)
        bar.ax.tick_params(labelsize=6)
    for axis in axes[len(weights) :]:
        axis.set_visible(False)
    figure.suptitle(f"{role}: log10 importance of each weight (rows: outputs, columns: inputs, mean over the kernel)", fontsize=9)
    arrange(figure, rect=(0, 0, 1, 0.98))
    save_figure(figure, path)


def draw_histograms(path: Path, target: Importance, remaining: Importance) -> None:
    """Draw the distribution of importance, for the target and for the remaining labels, in G and in D."""
    figure = new_figure(9, 3.2)
    for axis, role in zip(figure.subplots(1, 2), ROLES, strict=True):
        for importance, name, colour in ((target, "target", "#d55e00"), (remaining, "remaining labels", "#0072b2")):
            values = torch.cat([weight.flatten() for weight in importance.weights[role].values()])
            axis.hist(_logarithm(values[values > 0].cpu()), bins=80, histtype="step", color=colour, label=name)
        axis.set_xlabel(f"log10 importance, {role}")
        axis.set_ylabel("weights")
        axis.legend(fontsize=8)
    arrange(figure)
    save_figure(figure, path)


def draw_overlaps(path: Path, shared: Mapping[str, list[list[float]]], names: Sequence[str]) -> None:
    """Draw the overlap of the labels' top sets, a matrix for G and one for D."""
    size = max(3.2, 0.42 * len(names) + 1.2)
    figure = new_figure(2 * size + 0.6, size)
    shown = [legible(name) for name in names]
    for axis, role in zip(figure.subplots(1, 2), ROLES, strict=True):
        matrix = np.array(shared[role])
        axis.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
        axis.set_xticks(range(len(names)), shown, fontsize=7, rotation=45, ha="right")
        axis.set_yticks(range(len(names)), shown, fontsize=7)
        axis.set_title(f"{role}: overlap of top sets", fontsize=9)
        if len(names) <= 20:
            for (down, across), value in np.ndenumerate(matrix):
                axis.text(across, down, f"{value:.2f}", ha="center", va="center", fontsize=6,
                          color="black" if value > 0.6 else "white")  # fmt: skip
    arrange(figure)
    save_figure(figure, path)


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.flatten(2).mean(2) if weight.dim() > 2 else weight


def _logarithm(values: Tensor) -> np.ndarray:
    """log10 of the values; not a number where there is no importance, which is drawn as an empty place."""
    return torch.where(values > 0, values, torch.nan).log10().cpu().numpy()
