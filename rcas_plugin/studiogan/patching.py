"""The patch that gives upstream's main.py its --plugin flag: put in, taken out byte for byte, refused for any other file."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.repository import patch_file
from rcas_plugin.studiogan.locate import PINNED_COMMIT

PATCH = patch_file()
#: Of upstream's src/main.py at the pinned commit.
PINNED_SHA256 = "0dccb9ec4b0b8a63f63c157a767205d02016f8fd0efa6a36a7bbe8f7e8abcba8"

_HUNK = re.compile(rb"@@ -(\d+),0 \+(\d+)(?:,(\d+))? @@")


def added_lines(patch: bytes) -> dict[int, list[bytes]]:
    """The lines that a zero-context patch adds, by the line of the old file that they come after.

    Raises:
        RcasError: the patch does anything else than to add lines.
    """
    hunks: dict[int, list[bytes]] = {}
    after: int | None = None
    for line in patch.splitlines(keepends=True):
        if match := _HUNK.match(line):
            after = int(match[1])
            hunks[after] = []
        elif after is not None and line.startswith(b"+"):
            hunks[after].append(line[1:])
        elif after is not None:
            raise RcasError(f"{PATCH} is damaged: it may add lines only, with no context; restore it from git, or install again")
    return hunks


def patched(original: bytes, patch: bytes) -> bytes:
    """A file with the patch's lines added."""
    hunks = added_lines(patch)
    result: list[bytes] = []
    for number, line in enumerate(original.splitlines(keepends=True), start=1):
        result += [line, *hunks.get(number, [])]
    return b"".join(result)


def unpatched(content: bytes, patch: bytes) -> bytes | None:
    """The file without the patch's lines, or None where they are not all in their places."""
    lines, result, number = content.splitlines(keepends=True), [], 0
    hunks = added_lines(patch)
    position = 0
    while position < len(lines):
        result.append(lines[position])
        position, number = position + 1, number + 1
        added = hunks.get(number, [])
        if lines[position : position + len(added)] != added:
            return None
        position += len(added)
    return b"".join(result)


def _read_patch() -> bytes:
    if not PATCH.is_file():
        raise RcasError(f"there is no {PATCH}; install the plugin again (pip install --force-reinstall --no-deps)")
    return PATCH.read_bytes()


def is_pinned(content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == PINNED_SHA256


def is_installed(root: Path) -> bool:
    """True where a StudioGAN's main.py is the pinned one with the patch in it."""
    if not PATCH.is_file():
        return False
    original = unpatched((root / "src" / "main.py").read_bytes(), PATCH.read_bytes())
    return original is not None and is_pinned(original)


def install(root: Path) -> bool:
    """Put the patch in; returns False where it is in already.

    Raises:
        RcasError: main.py is not the pinned one.
    """
    main = root / "src" / "main.py"
    if is_installed(root):
        return False
    content = main.read_bytes()
    if not is_pinned(content):
        raise RcasError(
            f"{main} is not the main.py of StudioGAN {PINNED_COMMIT[:8]}, so the patch is not put into it; "
            f"run it unpatched: python -m rcas_plugin.studiogan {main} --plugin rcas …"
        )
    _write(main, patched(content, _read_patch()))
    return True


def uninstall(root: Path) -> bool:
    """Take the patch out, byte for byte; returns False where it is not in.

    Raises:
        RcasError: main.py was changed since the patch was put in.
    """
    main = root / "src" / "main.py"
    content = main.read_bytes()
    if is_pinned(content):
        return False
    original = unpatched(content, _read_patch())
    if original is None or not is_pinned(original):
        raise RcasError(f"{main} is not what rcas install made of it, so it is left alone; git checkout restores it")
    _write(main, original)
    return True


def _write(main: Path, content: bytes) -> None:
    mode = main.stat().st_mode
    with atomic_path(main) as temporary:
        temporary.write_bytes(content)
    main.chmod(mode)
