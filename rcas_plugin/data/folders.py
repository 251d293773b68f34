"""Image folders, one a class: which classes and files there are, for whoever asks. No image is opened to list them.

Hidden folders and files are left out everywhere: `.ipynb_checkpoints`, `.DS_Store`, `._1.png`, and what archivers leave behind.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from rcas_plugin.data.images import load_image
from rcas_plugin.errors import RcasError

#: Hidden as well: folders that archivers and file servers make beside the user's own.
_MADE_BY_SYSTEMS = ("__MACOSX", "@eaDir")


@dataclass(frozen=True)
class DataClasses:
    """Names and image counts of a data set's classes, read without opening an image.

    Attributes:
        names: class names in the order of their indices (the indices themselves as text where there are no names).
        counts: images a class, same order.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Listing:
    """The classes and image files of a folder of class folders.

    Attributes:
        root: the folder.
        files: class -> its image files, in torchvision's order; classes sorted by name.
        hidden: folders and files that were left out, relative to the root.
        loose: image files that lie in the root itself, in no class.
        foreign: class -> endings of its other files, which are not read.
    """

    root: Path
    files: Mapping[str, tuple[str, ...]]
    hidden: tuple[str, ...]
    loose: tuple[str, ...]
    foreign: Mapping[str, tuple[str, ...]]

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(paths) for name, paths in self.files.items()}

    @property
    def all_files(self) -> tuple[str, ...]:
        return tuple(path for paths in self.files.values() for path in paths)

    def fingerprint(self) -> str:
        """A digest of the names, sizes and times of all image files and class folders; 16 hexadecimal digits.

        The time of the last change of a file's attributes is among them, and the class folders' numbers on disk: files of equal
        names, sizes and times in another folder of the same name are others.
        """
        about = []
        for name, paths in self.files.items():
            about.append([name, (self.root / name).stat().st_ino])
            for path in paths:
                file = Path(path).stat()
                about.append([path[len(str(self.root)) :], file.st_size, file.st_mtime_ns, file.st_ctime_ns])
        return hashlib.sha256(json.dumps(about).encode(errors="surrogateescape")).hexdigest()[:16]

    def newest_change(self) -> int:
        """When a file or folder was last written, moved, added or taken away, in nanoseconds."""
        files = [Path(path) for path in self.all_files]
        folders = {self.root, *(self.root / name for name in self.files), *(file.parent for file in files)}
        changes = (path.stat() for path in (*folders, *files))
        return max(max(change.st_mtime_ns, change.st_ctime_ns) for change in changes)


def list_folders(root: str | Path) -> Listing:
    """List a folder of class folders.

    Raises:
        RcasError: it is not there, or a folder in it may not be read.
    """
    base = Path(root)
    files: dict[str, tuple[str, ...]] = {}
    foreign: dict[str, tuple[str, ...]] = {}
    hidden: list[str] = []
    for name in class_names(base):
        files[name], left_out, others = _walk(base / name)
        hidden += [os.path.relpath(path, base) for path in left_out]
        if others:
            foreign[name] = tuple(sorted({Path(path).suffix.lower() or "none" for path in others}))
    entries = sorted(base.iterdir())
    hidden = [entry.name for entry in entries if _is_hidden(entry.name)] + hidden
    loose = tuple(entry.name for entry in entries if entry.is_file() and _is_image(entry.name))
    return Listing(base, files, tuple(hidden), loose, foreign)


def class_names(root: str | Path) -> tuple[str, ...]:
    """The class folders of a data set, sorted by name as torchvision does; raises like `list_folders`."""
    try:
        return tuple(sorted(entry.name for entry in Path(root).iterdir() if entry.is_dir() and not _is_hidden(entry.name)))
    except OSError as error:
        raise _unreadable(error) from None


def image_files(folder: str | Path) -> tuple[str, ...]:
    """The image files in a folder and those below it, in torchvision's order; raises like `list_folders`."""
    return _walk(Path(folder))[0]


class ClassFolders(ImageFolder):  # type: ignore[misc]
    """torchvision's `ImageFolder` with this module's listing and loader; a class folder may be empty."""

    def __init__(self, root: str | Path, transform: Any = None) -> None:
        super().__init__(str(root), transform=transform, loader=load_image)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        names = list(class_names(directory))
        return names, {name: index for index, name in enumerate(names)}

    @staticmethod
    def make_dataset(directory: str | Path, class_to_idx: dict[str, int], *_: Any, **__: Any) -> list[tuple[str, int]]:
        return [(path, index) for name, index in class_to_idx.items() for path in image_files(Path(directory) / name)]


def _walk(folder: Path) -> tuple[tuple[str, ...], list[str], list[str]]:
    """Image files, hidden entries and other files, at any depth."""
    images: list[str] = []
    hidden: list[str] = []
    others: list[str] = []
    walked = []
    for directory, below, names in os.walk(folder, followlinks=True, onerror=_raise):
        hidden += [f"{directory}{os.sep}{name}" for name in (*below, *names) if _is_hidden(name)]
        below[:] = [name for name in below if not _is_hidden(name)]
        walked.append((directory, sorted(name for name in names if not _is_hidden(name))))
    for directory, names in sorted(walked):
        for name in names:
            (images if _is_image(name) else others).append(f"{directory}{os.sep}{name}")
    return tuple(images), sorted(hidden), others


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _MADE_BY_SYSTEMS


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMG_EXTENSIONS) and not _is_hidden(name)


def _raise(error: OSError) -> None:
    raise _unreadable(error) from None


def _unreadable(error: OSError) -> RcasError:
    if isinstance(error, FileNotFoundError):
        return RcasError(f"-data: there is no folder {error.filename}; it holds a folder a class, with the images of it")
    return RcasError(f"-data: {error.filename} cannot be read: {error.strerror}; give a folder of class folders that may be read")
