"""The report in a real browser: no error in its console, nothing asked for, readable on a screen and on a phone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcas_plugin.report.page import write_report

from ..shared import Watched
from .browser import CHROMIUM, visit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here (apt install chromium): the report is not looked at in a browser"
    ),
]


def test_the_visit_notices_errors_and_requests(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<img src='http://127.0.0.1:9/a.png'><script>console.error('broken'); nothing.at.all</script>")
    found = visit(page, tmp_path / "browser")
    assert found.requests == ["http://127.0.0.1:9/a.png"]
    assert any("broken" in line for line in found.console)
    assert any("nothing is not defined" in line for line in found.console)


@pytest.mark.parametrize(("width", "height"), [(1100, 2000), (500, 3000)])
def test_a_report_is_whole(tmp_path: Path, watched: Watched, width: int, height: int) -> None:
    page = write_report([watched.run], tmp_path / "report")
    alone = tmp_path / "alone.html"
    alone.write_bytes(page.read_bytes())  # its pictures are inside
    found = visit(alone, tmp_path / "browser", width=width, height=height)
    assert found.console == []
    assert found.requests == []
    with Image.open(found.screenshot) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[1] == width
    drawn = (pixels < 250).mean(1) > 0
    assert drawn[: height // 2].mean() > 0.5, "it is no empty page"
    assert (pixels[:, -4:] > 250).all(), "nothing runs over the right edge"
