"""Files that are whole or not there, names that are never paths, and the removal of interrupted writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and leftovers go by their age alone
    fcntl = None

#: How every temporary file and folder of this package starts.
_PREFIX = ".rcas-part-"
_TEMPORARY = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}(\.[^.]+)?")
#: As they were named by versions that locked nothing: `.rcas.json.abcd1234.json`, `.hdf5-abcd1234`.
_EARLIER = re.compile(r"\..+(\.(?:pth|json|npz|png|html|safetensors|yaml))\.[a-z0-9_]{8}\1|\.hdf5-[a-z0-9_]{8}")
#: Seconds after which a temporary file that nobody could lock counts as left behind.
_ABANDONED = 3600.0
_STARTED = time.time()

_STEM = re.compile(r"(?!(?i:con|prn|aux|nul|com\d|lpt\d)$)[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


# writing --------------------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is moved onto `path` when the block ends, and removed where the block fails.

    Where the process is killed inside the block, the temporary file stays until `remove_leftovers`.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=_PREFIX, suffix=target.suffix)
    temporary = Path(name)
    try:
        _lock(handle)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files for the owner alone
        temporary.replace(target)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(parent: str | Path) -> Iterator[Path]:
    """Yield a new folder in `parent`; it is removed with its content when the block ends, or else by `remove_leftovers`."""
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=_PREFIX))
    handle = os.open(folder, os.O_RDONLY) if fcntl is not None else None
    try:
        if handle is not None:
            _lock(handle)
        yield folder
    finally:
        if handle is not None:
            os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON, indented, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


# names ----------------------------------------------------------------------------------------------------------------------


def safe_stem(text: object) -> str:
    """A part of a file name from any text, on any system: never a path, hidden, a device, or longer than 80 characters.

    Letters, digits, `_` and `-` stay as they are; of any other text what is left of it, and a digest that tells it from others.
    """
    name = str(text)
    if _STEM.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    kept = re.sub(r"[^A-Za-z0-9]+", "_", name[:1000]).strip("_")[:60]
    return f"{kept}-{digest}" if kept else digest


def is_plain_name(text: object) -> bool:
    """True where a text is the name of one file or folder, and not a path to another place."""
    return isinstance(text, str) and text not in ("", ".", "..") and not re.search(r"[/\\\x00-\x1f]", text) and len(text) <= 200


# leftovers ------------------------------------------------------------------------------------------------------------------


def remove_leftovers(*folders: str | Path) -> list[Path]:
    """Remove the temporary files of killed writes that lie directly in `folders`; returns the paths removed.

    These are the temporary files and folders of `atomic_path` and `temporary_folder`, by their names. One that a live process
    writes is locked, and stays.
    """
    removed = []
    for folder in dict.fromkeys(Path(folder) for folder in folders):
        with contextlib.suppress(OSError):  # no such folder, or none of the user's
            for path in list(folder.iterdir()):
                if _is_left_behind(path) and _removed(path):
                    removed.append(path)
    return removed


def _lock(handle: int) -> bool | None:
    """Lock an open file until it is closed; returns True where that worked, None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_left_behind(path: Path) -> bool:
    locked_when_written = _TEMPORARY.fullmatch(path.name) is not None
    if not locked_when_written and _EARLIER.fullmatch(path.name) is None:
        return False
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        return False
    free = None
    if fcntl is not None:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            free = _lock(handle)
        finally:
            os.close(handle)
    if free is False:
        return False
    newest = max(part.lstat().st_mtime for part in (path, *path.rglob("*")))
    # a file of this moment may be one that its writer has not locked yet
    return newest < (_STARTED if free and locked_when_written else time.time() - _ABANDONED)


def _removed(path: Path) -> bool:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return not path.exists()
