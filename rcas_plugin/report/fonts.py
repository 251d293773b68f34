"""Names in pictures: in any script, by the installed fonts that have it; never as boxes, and never taken for a formula."""

from __future__ import annotations

import functools
import itertools
import logging
import unicodedata
import warnings
from collections.abc import Set
from typing import Any

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text

#: The longest a name gets in a picture, in characters; of a longer one its start and its end.
START, END = 56, 24
#: No character at all: what has a glyph for it, such as matplotlib's own last resort, has boxes for all that it lacks.
_NO_CHARACTER = "\ufdd0"
#: Unicode's categories of control characters, of halves of characters, of line and paragraph ends.
_NEVER_DRAWN = ("Cc", "Cs", "Zl", "Zp")


def legible(name: object) -> str:
    """A name as matplotlib draws it letter by letter with the fonts that are installed; `arrange` chooses among them.

    What no font has is written as `[U+4E2D]`. A dollar sign starts no formula, a line break breaks no line, and a leading
    underscore does not hide the name from a legend. A long name is cut in its middle.
    """
    text = str(name)
    text = text if len(text) <= 1000 else f"{text[:500]}…{text[-499:]}"
    missing = _characters_of(text) - _covered(families(text))
    drawn = "".join(_short([_drawn(character, missing) for character in text]))
    return f" {drawn}" if drawn.startswith("_") else drawn


def families(text: str) -> list[str]:
    """The font families that draw a text, for matplotlib's fallback: the default ones, then as few as have what those lack."""
    chosen = list(FontProperties().get_family())
    missing = _characters_of(text) - _covered(chosen)
    while missing:
        best = max(_installed(), key=lambda family: len(missing & _glyphs(family)))
        if not missing & _glyphs(best):
            break
        chosen.append(best)
        missing -= _glyphs(best)
    return chosen


def arrange(figure: Figure, **layout: Any) -> None:
    """Set every text of a figure in fonts that have its characters, and lay the figure out (`Figure.tight_layout`)."""
    texts: list[Any] = figure.findobj(Text)
    chosen = families("".join(sorted({character for text in texts for character in text.get_text()})))
    for text in texts:
        text.set_fontfamily(chosen)
        text.set_usetex(False)
    with warnings.catch_warnings():
        # names too long for the figure stand out of it, and save_figure makes the picture as large as they need
        warnings.filterwarnings("ignore", message="Tight layout not applied", category=UserWarning)
        figure.tight_layout(**layout)


def _drawn(character: str, missing: Set[str]) -> str:
    category = unicodedata.category(character)
    if character == "$":
        return r"\$"
    if category == "Zs":
        return " "
    if category in _NEVER_DRAWN:
        return f"[U+{ord(character):04X}]"
    if character not in missing:
        return character
    return "" if category in ("Cf", "Mn") else f"[U+{ord(character):04X}]"  # joiners and variants show nothing of their own


def _characters_of(text: str) -> set[str]:
    return {character for character in text if unicodedata.category(character) not in (*_NEVER_DRAWN, "Zs")}


def _short(parts: list[str]) -> list[str]:
    """The parts, or as many of the first and the last as fit."""
    if sum(map(len, parts)) <= START + END:
        return parts
    lengths = list(itertools.accumulate(map(len, parts)))
    from_end = list(itertools.accumulate(map(len, reversed(parts))))
    first = sum(length <= START for length in lengths)
    last = sum(length <= END for length in from_end)
    return [*parts[:first], "…", *parts[len(parts) - last :]]


def _covered(names: list[str]) -> set[str]:
    return set().union(*(_glyphs(name) for name in names))


def _installed() -> list[str]:
    return sorted({font.name for font in fontManager.ttflist})


def _glyphs(family: str) -> frozenset[str]:
    """The characters of the font that matplotlib takes for a family; none where it draws boxes for what it lacks."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)  # it would name every family that has no normal weight
    try:
        return _characters(fontManager.findfont(FontProperties(family=[family]), fallback_to_default=False))
    except ValueError:  # a family of the user's settings that is not installed
        return frozenset()
    finally:
        log.setLevel(level)


@functools.cache
def _characters(path: str) -> frozenset[str]:
    try:
        characters = frozenset(map(chr, get_font(path).get_charmap()))
    except (OSError, RuntimeError):  # a font file that is damaged
        return frozenset()
    return frozenset() if _NO_CHARACTER in characters else characters
