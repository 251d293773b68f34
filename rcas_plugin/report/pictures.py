"""Pictures of a swap: images per label before and after, and curves over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from rcas_plugin.files import atomic_path

#: One line style a method, in the order in which they are drawn.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def draw_before_after(
    path: Path, columns: Mapping[str, tuple[Tensor, Tensor]], rows: Mapping[int, str], *, per_cell: int = 8
) -> None:
    """Draw images per label (rows) and moment (columns); image k of each cell comes from the same latents.

    Args:
        path: of the PNG.
        columns: title -> (images (n, channels, h, w) in [-1, 1], labels (n,)).
        rows: label -> what is written beside its row.
        per_cell: images in a cell.
    """
    figure = new_figure(1.2 + 0.42 * per_cell * len(columns), 0.9 + 0.5 * len(rows))
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for across, (title, (images, labels)) in enumerate(columns.items()):
        for down, (label, name) in enumerate(rows.items()):
            axis = axes[down][across]
            _show_strip(axis, images[labels == label][:per_cell])
            if down == 0:
                axis.set_title(title, fontsize=10)
            if across == 0:
                axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.tight_layout(pad=0.6, h_pad=0.2)
    save_figure(figure, path)


def _show_strip(axis: mpl.axes.Axes, images: Tensor) -> None:
    pixels = np.concatenate(list(((images + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()), axis=1)
    if np.abs(pixels - pixels.mean(-1, keepdims=True)).max() < 0.2:  # grayscale data, repeated to three channels
        axis.imshow(pixels.mean(-1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axis.imshow(pixels, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)


def draw_curves(path: Path, panels: Mapping[str, Mapping[str, Mapping[int, float]]], *, logarithmic: Sequence[str] = ()) -> None:
    """Draw one panel a quantity with one line a run.

    Args:
        path: of the PNG.
        panels: quantity (the y-axis) -> run -> step -> value.
        logarithmic: quantities with a logarithmic y-axis.
    """
    figure = new_figure(4.6 * len(panels), 3.4)
    for axis, (quantity, runs) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for colour, (name, values) in zip(COLOURS, runs.items(), strict=False):
            axis.plot(list(values), list(values.values()), marker="o", markersize=3, color=colour, label=name)
        axis.set_xlabel("steps of fine-tuning")
        axis.set_ylabel(quantity)
        if quantity in logarithmic:
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    save_figure(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches that needs no display."""
    figure = Figure(figsize=(width, height), dpi=130)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
