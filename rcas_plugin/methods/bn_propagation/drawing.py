"""Pictures of the similarity scores: each new class's weights of the pre-trained ones, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rcas_plugin.methods.bn_propagation.adapter import ADAPTER
from rcas_plugin.report.fonts import arrange, legible
from rcas_plugin.report.pictures import new_figure, save_figure
from rcas_plugin.weights.adapters import adapted, parts_of


def similarity_scores(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Name of the propagated weight -> similarity scores (new labels, labels before), from a network's state dict."""
    return {
        name: parts_of(state, name)[1]["scores"].float().cpu() for name, adapter in adapted(state).items() if adapter == ADAPTER
    }


def draw_similarity(path: Path, state: Mapping[str, Any], before: Sequence[str], new: Sequence[str]) -> None:
    """Draw the scores: a panel a weight and one of their mean; rows are new classes, columns the pre-trained ones.

    Args:
        path: of the PNG.
        state: the generator's state dict.
        before: names of the pre-trained labels.
        new: names of the new classes, by ascending label.
    """
    layers = similarity_scores(state)
    panels = {"mean of all": torch.stack(list(layers.values())).mean(0), **layers}
    across = min(4, len(panels))
    down = math.ceil(len(panels) / across)
    limit = max(float(scores.abs().max()) for scores in panels.values()) or 1.0
    figure = new_figure(1.2 + across * (0.8 + 0.3 * len(before)), 1.1 + down * (0.9 + 0.3 * len(new)))
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for axis, (name, scores) in zip(axes, panels.items(), strict=False):
        shown = axis.imshow(scores.numpy(), cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
        axis.set_title(legible(name.removesuffix(".weight")), fontsize=8)
        axis.set_xticks(range(len(before)), [legible(label) for label in before], fontsize=7, rotation=90)
        axis.set_yticks(range(len(new)), [legible(label) for label in new], fontsize=7)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle("similarity scores: what each new class (rows) borrows from the pre-trained ones (columns)", fontsize=9)
    arrange(figure)
    figure.colorbar(shown, ax=list(axes), shrink=0.8)
    save_figure(figure, path)
