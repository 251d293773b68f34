"""One look at a data set before anything is written: sizes, depths, broken and constant files, what is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm.auto import tqdm

from rcas_plugin.data.folders import DataClasses, Listing, list_folders
from rcas_plugin.data.images import ImageFacts, image_facts

T = TypeVar("T")

#: The most files whose headers are read, and the most pixels that are decoded; of more, evenly spaced ones are.
FILES, PIXELS = 20_000, 4_000_000_000
#: Threads that decode; PIL leaves Python's lock while it does.
_THREADS = min(16, os.cpu_count() or 1)


def folder_classes(folder: str | Path) -> DataClasses:
    """Classes of an image folder in torchvision's order, with the number of image files in each; no image is opened."""
    counts = list_folders(folder).counts
    return DataClasses(tuple(counts), tuple(counts.values()))


@dataclass(frozen=True)
class DatasetLook:
    """The facts of every image in a folder of class folders.

    Attributes:
        listing: classes and files.
        looked: how many files' headers were read.
        decoded: how many files were read to the last pixel.
        sizes: (width, height) in pixels -> files.
        kinds: colours and depth in words -> files.
        broken: file -> the sentence that says why it cannot be read.
        constant: files all of whose pixels are alike.
        constant_classes: classes of which every file that was decoded is constant.
        largest: class -> the largest value of its gray images of 16 bits.
        turned: files whose EXIF data ask a viewer to turn them.
        paged: TIFF files of more than one page.
        gray: whether every image that was decoded is gray.
    """

    listing: Listing
    looked: int
    decoded: int
    sizes: Mapping[tuple[int, int], int]
    kinds: Mapping[str, int]
    broken: Mapping[str, str]
    constant: tuple[str, ...]
    constant_classes: tuple[str, ...]
    largest: Mapping[str, int]
    turned: int
    paged: int
    gray: bool = False

    @property
    def size(self) -> tuple[int, int] | None:
        """The commonest size (width, height), of several the largest; None where no image can be read."""
        return max(self.sizes, key=lambda size: (self.sizes[size], size), default=None)

    @property
    def classes(self) -> DataClasses:
        counts = self.listing.counts
        return DataClasses(tuple(counts), tuple(counts.values()))


def look_at(root: str | Path, *, files: int = FILES, pixels: int = PIXELS) -> DatasetLook:
    """Look at the images of a folder of class folders, in threads, with a bar where it takes more than two seconds.

    Args:
        root: `DATA/train`, or any folder with a folder a class.
        files: the most files that are looked at, evenly spaced.
        pixels: the most pixels that are decoded, of files evenly spaced.

    Raises:
        RcasError: the folder is not there. What is wrong with an image is no exception, but in `broken`.
    """
    return _look(list_folders(root), files, pixels)


def look_at_files(root: str | Path, classes: Mapping[str, Sequence[str]]) -> DatasetLook:
    """Like `look_at`, at listed files of each class."""
    listed = {name: tuple(paths) for name, paths in classes.items()}
    return _look(Listing(Path(root), listed, (), (), {}), FILES, PIXELS)


def seen(look: DatasetLook) -> dict[str, Any] | None:
    """What there is to record of the images (`rcas_plugin.record.images_seen`); None where none can be read."""
    return None if look.size is None else {"gray": look.gray, "size": list(look.size)}


def _look(listing: Listing, files: int, pixels: int) -> DatasetLook:
    class_of = {path: name for name, paths in listing.files.items() for path in paths}
    headers = _facts(_spaced(list(class_of), files), decode=False)
    total = sum(facts.size[0] * facts.size[1] for facts in headers)
    share = len(headers) if total <= pixels else max(1, len(headers) * pixels // total)
    whole = {facts.path: facts for facts in _facts([facts.path for facts in _spaced(headers, share)], decode=True)}
    seen = [whole.get(facts.path, facts) for facts in headers]
    readable = [facts for facts in seen if not facts.error]
    constant = tuple(facts.path for facts in readable if facts.constant)
    lively = {class_of[path] for path, facts in whole.items() if not facts.error and not facts.constant}
    largest: dict[str, int] = {}
    for facts in readable:
        if facts.largest is not None:
            largest[class_of[facts.path]] = max(facts.largest, largest.get(class_of[facts.path], 0))
    return DatasetLook(
        listing,
        looked=len(seen),
        decoded=len(whole),
        sizes=Counter(facts.size for facts in readable),
        kinds=Counter(facts.kind for facts in readable),
        broken={facts.path: facts.error for facts in seen if facts.error},
        constant=constant,
        constant_classes=tuple(sorted({class_of[path] for path in constant} - lively)),
        largest=largest,
        turned=sum(facts.turned for facts in readable),
        paged=sum(facts.pages > 1 for facts in readable),
        gray=any(facts.gray for facts in readable) and all(facts.gray or facts.error for facts in whole.values()),
    )


def _spaced(items: Sequence[T], count: int) -> list[T]:
    """Up to `count` of the items, evenly spaced."""
    kept = min(count, len(items))
    return [items[position * len(items) // kept] for position in range(kept)]


def _facts(paths: Sequence[str], *, decode: bool) -> list[ImageFacts]:
    what = "looking at images" if decode else "looking at headers"
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda path: image_facts(path, decode=decode), paths)
        return list(tqdm(found, total=len(paths), desc=what, unit="image", delay=2, disable=None))
