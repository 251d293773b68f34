"""A page in headless Chromium: a screenshot, what the console says, and every address that it asks for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
#: Against Chromium's own errands; some it runs all the same.
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run")


@dataclass(frozen=True)
class Visit:
    """What was seen of a page.

    Attributes:
        screenshot: a PNG file.
        console: lines that the page wrote to the console.
        requests: addresses that were asked for, but for the page itself and what is inside it.
    """

    screenshot: Path
    console: list[str]
    requests: list[str]


def visit(page: Path, folder: Path, *, width: int = 1100, height: int = 2000) -> Visit:
    """Open a page from a file; `folder` takes the browser's files."""
    assert CHROMIUM is not None
    folder.mkdir(parents=True, exist_ok=True)
    shot, log = folder / "screenshot.png", folder / "net.json"
    ended = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *QUIET,
         f"--user-data-dir={folder / 'profile'}", "--hide-scrollbars", f"--window-size={width},{height}",
         f"--screenshot={shot}", f"--log-net-log={log}", "--enable-logging=stderr", page.resolve().as_uri()],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert shot.is_file(), ended.stderr[-2000:]
    content = json.loads(log.read_text())
    kind = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    started = [event.get("params", {}) for event in content["events"] if event["type"] == kind]
    # what no page has begun are Chromium's own errands
    asked = {params["url"] for params in started if "url" in params and params["initiator"] != "not an origin"}
    requests = sorted(url for url in asked if not url.startswith(("file:", "data:")))
    return Visit(shot, re.findall(r"CONSOLE.*", ended.stderr), requests)
