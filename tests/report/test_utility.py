"""The section on whether it helps: its words, and that the page has it where utility.json is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rcas_plugin import RcasError
from rcas_plugin.report.page import write_report
from rcas_plugin.report.utility import ALONE, AUGMENTED, BOTH, UTILITY, Utility, section_of, utility_section

from .test_page import Page, a_run


def content(sensitivity: tuple[float, float, float], worst: tuple[float, float, float], saw: int | None = 40) -> dict[str, Any]:
    """A comparison at 25 images with one gain."""
    same, none = (0.5, 0.4, 0.6), (0.0, 0.0, 0.0)
    level = {"sensitivity": same, "false_alarms": (0.1, 0.1, 0.1), "worst_remaining": same, "macro_f1": same}
    gain = {"sensitivity": sensitivity, "false_alarms": none, "worst_remaining": worst, "macro_f1": none}
    rows = [{"real": real, "condition": name, "seeds": 3, "figures": level, "generated": [made] * 3}
            for real, name, made in ((25, AUGMENTED, 0), (25, BOTH, 60), (0, ALONE, 100))]  # fmt: skip
    amounts = [{"real": 25, "amount": amount, "generated": int(40 * amount), "loss": (loss, loss, loss), "sensitivity": same,
                "chosen": chosen} for amount, loss, chosen in ((0.0, 0.9, 0), (0.5, 0.7, 3), (2.0, 0.8, 0))]  # fmt: skip
    return {
        "new": "n", "classes": ["m", "n"], "saw": saw, "state": "best state, step 4", "seeds": 3, "interval": "over 3 seeds",
        "test": [10, 30], "everywhere": True, "remarks": ["<b>beware</b>"], "rows": rows,
        "gains": [{"real": 25, "condition": BOTH, "over": AUGMENTED, "figures": gain}], "amounts": amounts,
        "copies": {"generated": 0.95, "test": 0.5, "images": 100},
    }  # fmt: skip


def said(**changes: Any) -> list[str]:
    return section_of(Utility.model_validate(content(**changes), strict=False)).sentences


@pytest.mark.parametrize(
    ("sensitivity", "worst", "effect", "aim"),
    [
        ((0.06, 0.01, 0.11), (0.0, -0.1, 0.1), "+6.0 points [+1.0, +11.0]: they help.", "at 25 images is reached."),
        ((0.03, -0.01, 0.07), (0.0, -0.1, 0.1), "+3.0 points [-1.0, +7.0]: no effect is shown", "is missed by 2.0 points."),
        ((-0.04, -0.07, -0.01), (-0.2, -0.3, -0.1), "-4.0 points [-7.0, -1.0]: they harm.", "is missed by 9.0 points."),
    ],
)
def test_the_gain_in_so_many_words(sensitivity: Any, worst: Any, effect: str, aim: str) -> None:
    first, second, *_ = said(sensitivity=sensitivity, worst=worst)
    assert first.startswith("With 25 real images of n, generated images beside classical augmentation change its sensitivity by")
    assert effect in first
    assert ("The worst remaining class has lost." in first) == (worst[2] < 0)
    assert second.endswith(aim)


def test_the_amount_and_the_copies() -> None:
    sentences = said(sensitivity=(0.1, 0, 0.2), worst=(0, 0, 0))
    assert "Generated images with 25 real ones: 0.5x (20 a class) helped most; loss" in sentences[2]
    assert "none 0.900, 0.5x 0.700, 2x 0.800" in sentences[2]
    assert sentences[-1].startswith("95% of 100 generated images of n are nearer to a training image than any other")
    assert "of the real test images 50% are" in sentences[-1]
    assert sentences[-1].endswith("They look like copies.")


def test_what_the_generator_saw_is_said() -> None:
    remarks = section_of(Utility.model_validate(content((0.1, 0, 0.2), (0, 0, 0)), strict=False)).remarks
    assert remarks[1].startswith("The generator saw all 40 real images of n: rows of 25 real images flatter")
    assert "never on the test images" in remarks[2]
    fair = section_of(Utility.model_validate(content((0.1, 0, 0.2), (0, 0, 0), saw=None), strict=False)).remarks
    assert not any("flatter" in remark for remark in fair)


def test_the_page_has_it_where_it_is_there(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "x", [100, 4])
    assert utility_section(run) is None
    assert "Does it help?" not in Page(write_report([run], tmp_path / "a")).text
    (run / UTILITY).write_text(json.dumps(content((0.06, 0.01, 0.11), (0, 0, 0))))
    page = Page(write_report([run], tmp_path / "b"))
    text = " ".join(page.text)
    assert "Does it help?" in text
    assert "they help" in text
    assert "50.0 % [40.0, 60.0]" in text
    assert "<b>beware</b>" in page.text, "a stranger's text is text"
    assert not page.all("b")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / UTILITY).write_text('{"new": 3}')
    with pytest.raises(RcasError, match=r"utility.json cannot be read .*; delete it, and run rcas utility again"):
        utility_section(tmp_path)
