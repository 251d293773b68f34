"""Names in pictures are letters, in whatever script and whatever stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.text import Text

from rcas_plugin.gan import DISCRIMINATOR, GENERATOR
from rcas_plugin.methods.bn_propagation.adapter import propagate
from rcas_plugin.methods.bn_propagation.drawing import draw_similarity
from rcas_plugin.report import fonts
from rcas_plugin.report.fonts import families, legible
from rcas_plugin.report.importance import draw_overlaps
from rcas_plugin.report.pictures import (
    draw_before_after,
    draw_confusion,
    draw_curves,
    draw_edits,
    draw_neighbours,
    new_figure,
    save_figure,
)

CHINESE, ARABIC, EMOJI = "\u5212\u75d5", "\u062e\u062f\u0634", "\U0001f9a0\ufe0f"
NAMES = [CHINESE, ARABIC, EMOJI, "$x_1$", "_under", "$", r"\alpha", r"a\$b", "x" * 5000, "a\nb", "\ud800", "a_{b}^2", "\u3000x"]


@pytest.fixture
def chinese_font(tmp_path: Path) -> Iterator[str]:
    """A font of the two Chinese characters alone, known to matplotlib; the name of its family."""
    builder, pen = FontBuilder(1000), TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((0, 700))
    pen.lineTo((700, 0))
    pen.closePath()
    names = [".notdef", "first", "second"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, CHINESE), names[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Two Characters", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "two.ttf")
    before = list(fontManager.ttflist)
    fontManager.addfont(str(tmp_path / "two.ttf"))
    yield "Two Characters"
    fontManager.ttflist[:] = before


def test_a_font_that_is_installed_is_used(chinese_font: str) -> None:
    """L11: a name in a script that the default font lacks is drawn in an installed font that has it."""
    assert legible(f"a{CHINESE}$") == f"a{CHINESE}\\$"
    assert families(CHINESE) == [*FontProperties().get_family(), chinese_font]
    assert families("abc") == FontProperties().get_family()


def test_what_no_font_has_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """L11: where no font has a character, its number stands there and no box."""
    monkeypatch.setattr(fonts, "_installed", lambda: ["DejaVu Sans"])
    assert legible(CHINESE) == "[U+5212][U+75D5]"
    assert legible(f"crack {CHINESE[0]}-A") == "crack [U+5212]-A"
    assert legible(ARABIC) == ARABIC
    assert legible("a\nb\ud800") == "a[U+000A]b[U+D800]"
    assert legible("\U0001f9a0\ufe0f") == "[U+1F9A0]\ufe0f"
    assert families(CHINESE) == FontProperties().get_family(), "matplotlib's last resort has boxes for all of them"


def test_long_names_are_cut_in_the_middle() -> None:
    shown = legible("start" + "x" * 5000 + "end")
    assert len(shown) <= 81
    assert shown.startswith("start")
    assert shown.endswith("end")
    assert legible("y" * 80) == "y" * 80
    assert legible("$" * 500).replace(r"\$", "").strip() == "…", "no dollar sign loses its backslash"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that a test saves, each of whose texts must have glyphs for all of its characters."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    yield figures
    assert figures
    for figure in figures:
        for text in figure.findobj(Text):
            lacking = set(text.get_text()) - fonts._covered(text.get_fontfamily()) - {"\n", " "}
            assert not lacking, f"{text.get_text()!r} lacks {lacking}"
            assert not text.get_text().startswith("_")


def shown_in(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.slow
@pytest.mark.parametrize("installed", [True, False])
def test_every_picture_shows_every_name(
    installed: bool, drawn: list[Figure], tmp_path: Path, chinese_font: str, monkeypatch: pytest.MonkeyPatch, pair: Any
) -> None:
    """L11: all pictures draw names in any script as letters: no missing glyph, no box, no formula, none left out of a legend."""
    if not installed:
        monkeypatch.setattr(fonts, "_installed", lambda: ["DejaVu Sans"])
    path, images, labels = tmp_path / "x.png", torch.zeros(len(NAMES), 3, 4, 4), torch.arange(len(NAMES))
    draw_before_after(path, {"$before$": (images, labels)}, dict(enumerate(NAMES)), per_cell=1)
    draw_curves(path, {"quantity": {name: {0: (1.0, 0.8, 1.2), 9: (2.0, 2.0, 2.0)} for name in NAMES}}, logarithmic=["quantity"])
    draw_neighbours(path, {name: (images[:2], images[:2], [0.1, 0.2]) for name in NAMES})
    draw_edits(path, {"G": dict.fromkeys(NAMES, 0.5)})
    draw_confusion(path, {f"{label}: {name}": [1] * len(NAMES) for label, name in enumerate(NAMES)}, NAMES)
    draw_overlaps(path, {role: [[0.5] * len(NAMES)] * len(NAMES) for role in (GENERATOR, DISCRIMINATOR)}, NAMES)
    weight = "blocks.0.0.bn1.gain.weight"
    with torch.no_grad():
        propagate(pair[0], weight, pair[0].get_parameter(weight).detach(), [0, 1, 2, 4], 1).scores.fill_(0.1)
    draw_similarity(path, pair[0].state_dict(), NAMES[:4], [CHINESE])
    assert len(drawn) == 7
    for figure in drawn:
        texts = " ".join(shown_in(figure))
        assert (CHINESE in texts) == installed
        assert ("[U+5212][U+75D5]" in texts) != installed
    for figure in drawn[:-1]:
        texts = " ".join(shown_in(figure))
        for name in NAMES:
            assert legible(name) in texts
    legend = drawn[1].axes[0].get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == len(NAMES)
    assert len(drawn[3].axes[0].patches) == len(NAMES), "a bar a weight"


def test_a_dollar_sign_is_drawn_and_starts_no_formula(tmp_path: Path) -> None:
    """L11: `$x_1$` is five characters in a picture, as wide as five."""
    figure = new_figure(4, 2)
    letters, plain = (figure.text(0, 0, text) for text in (legible("$x_1$"), "Sx_1S"))
    formula = figure.text(0, 0, "$x_1$")
    save_figure(figure, tmp_path / "x.png")
    widths = [text.get_window_extent().width for text in (letters, plain, formula)]
    assert widths[0] == pytest.approx(widths[1], rel=0.05)
    assert widths[2] < 0.7 * widths[0], "as a formula it would be narrower"
