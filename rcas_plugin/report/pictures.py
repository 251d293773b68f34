"""Pictures of a swap: images per label before and after, and curves over the steps."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from rcas_plugin.files import atomic_path
from rcas_plugin.report.fonts import arrange, legible

#: One a run, in the order in which they are drawn; told apart by the colour-blind too (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

#: What the star in a curve means.
KEPT = "best state, kept"


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
                axis.set_title(legible(title), fontsize=10)
            if across == 0:
                axis.set_ylabel(legible(name), rotation=0, ha="right", va="center", fontsize=9)
    arrange(figure, pad=0.6, h_pad=0.2)
    save_figure(figure, path)


def _show_strip(axis: mpl.axes.Axes, images: Tensor) -> None:
    pixels = np.concatenate(list(((images + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).numpy()), axis=1)
    colour = np.abs(pixels - pixels.mean(-1, keepdims=True))
    if colour.max() < 0.2 and colour.mean() < 0.02:  # grayscale data, repeated to three channels
        axis.imshow(pixels.mean(-1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axis.imshow(pixels, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)


#: run -> step -> the mean, and the ends of its interval over the seeds; all three alike for a single one.
Curves = Mapping[str, Mapping[int, tuple[float, float, float]]]


def draw_curves(
    path: Path,
    panels: Mapping[str, Curves],
    *,
    logarithmic: Sequence[str] = (),
    levels: Mapping[str, float] | None = None,
    marked: Mapping[str, Sequence[int]] | None = None,
    across: str = "steps of training",
) -> None:
    """Draw one panel a quantity with one line a run, and the interval around it where there is one.

    Args:
        path: of the PNG.
        panels: quantity (the y-axis) -> its curves.
        logarithmic: quantities with a logarithmic y-axis.
        levels: quantity -> a level that is marked.
        marked: run -> the steps of its best states, which have a star.
        across: what the x-axis is.
    """
    figure = new_figure(4.6 * len(panels), 3.4)
    for axis, (quantity, runs) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for colour, (name, values) in zip(itertools.cycle(COLOURS), runs.items(), strict=False):
            means, low, high = ([value[which] for value in values.values()] for which in range(3))
            axis.plot(list(values), means, marker="o", markersize=3, color=colour, label=legible(name))
            best = [step for step in dict.fromkeys((marked or {}).get(name, ())) if step in values]
            if best:
                stars = [values[step][0] for step in best]
                said = {line.get_label() for line in axis.get_lines()}
                axis.plot(best, stars, marker="*", markersize=13, linestyle="none", color=colour, markeredgecolor="black",
                          label=None if KEPT in said else KEPT)  # fmt: skip
            if low != high:
                axis.fill_between(list(values), low, high, color=colour, alpha=0.2, linewidth=0)
        if levels and quantity in levels:
            axis.axhline(levels[quantity], color="black", linestyle="--", linewidth=0.8, label="level")
        axis.set_xlabel(across)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if quantity.endswith("%"):  # all of the scale, lest a per mille looks like a collapse
            axis.set_ylim(-2, 102)
        axis.set_ylabel(quantity)
        if quantity in logarithmic:
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    arrange(figure)
    save_figure(figure, path)


def draw_neighbours(path: Path, pairs: Mapping[str, tuple[Tensor, Tensor, Sequence[float]]]) -> None:
    """Draw generated images over the real image nearest to each, with the distance.

    Args:
        path: of the PNG.
        pairs: what is written beside the rows -> (generated, real (n, channels, h, w) in [-1, 1], distances).
    """
    across = max(len(distances) for _, _, distances in pairs.values())
    figure = new_figure(1.2 + 0.8 * across, 1.9 * len(pairs))
    axes = figure.subplots(2 * len(pairs), across, squeeze=False)
    for axis in axes.flatten():
        axis.set_axis_off()
    for row, (name, (generated, real, distances)) in enumerate(pairs.items()):
        for down, (what, images) in enumerate(((f"{legible(name)}\ngenerated", generated), ("nearest\nreal", real))):
            for column, image in enumerate(images):
                axis = axes[2 * row + down][column]
                axis.set_axis_on()
                _show_strip(axis, image[None])
                if column == 0:
                    axis.set_ylabel(what, rotation=0, ha="right", va="center", fontsize=9)
                if down == 1:
                    axis.set_xlabel(f"{distances[column]:.2g}", fontsize=8)
    arrange(figure, pad=0.6)
    save_figure(figure, path)


def draw_edits(path: Path, changed: Mapping[str, Mapping[str, float]], *, most: int = 30) -> None:
    """Draw the edited part of each weight, a panel a network; of more than `most` weights those of the largest parts.

    Args:
        path: of the PNG.
        changed: network -> weight -> the part of its numbers, 0 to 1.
        most: weights a network.
    """
    rows = {role: dict(sorted(parts.items(), key=lambda part: -part[1])[:most]) for role, parts in changed.items() if parts}
    heights = [len(parts) + 2 for parts in rows.values()]
    figure = new_figure(7, 0.22 * sum(heights) + 0.4)
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (role, parts) in zip(panels, rows.items(), strict=True):
        axis.barh(range(len(parts)), [100 * part for part in parts.values()], color=COLOURS[0])
        axis.set_yticks(range(len(parts)), [legible(name) for name in parts])
        axis.invert_yaxis()
        axis.tick_params(axis="y", labelsize=6)
        axis.set_xlabel(f"% of the numbers of each weight of {role}", fontsize=8)
        axis.grid(axis="x", alpha=0.3)
    arrange(figure)
    save_figure(figure, path)


def draw_confusion(path: Path, rows: Mapping[str, Sequence[int]], classes: Sequence[str]) -> None:
    """Draw the classes (across) that the judge sees in the images of each label (down), in percent.

    Args:
        path: of the PNG.
        rows: label -> images by class.
        classes: what the judge tells apart.
    """
    counts = np.array(list(rows.values()), dtype=float)
    parts = counts / counts.sum(1, keepdims=True).clip(min=1)
    figure = new_figure(max(4.0, 1.6 + 0.42 * len(classes)), max(2.4, 1.2 + 0.32 * len(rows)))
    axis = figure.subplots()
    axis.imshow(parts, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axis.set_xticks(range(len(classes)), [legible(name) for name in classes], fontsize=7, rotation=45, ha="right")
    axis.set_yticks(range(len(rows)), [legible(name) for name in rows], fontsize=7)
    axis.set_xlabel("class that the judge sees", fontsize=8)
    for (down, across), value in np.ndenumerate(parts):
        if value >= 0.005:
            axis.text(across, down, f"{100 * value:.0f}", ha="center", va="center", fontsize=6,
                      color="white" if value > 0.5 else "black")  # fmt: skip
    arrange(figure)
    save_figure(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """A new figure of the given inches that needs no display."""
    figure = Figure(figsize=(width, height), dpi=130)
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", pad_inches=0.05)  # no long name is cut off
