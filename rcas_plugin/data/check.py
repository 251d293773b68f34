"""The check of a looked-at data set against a config: refusals, notes for the user, and the preparation of each image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from rcas_plugin.data.look import DatasetLook

#: How many names a sentence lists.
SHOWN = 3
#: Under so many images a class is worth a word.
FEW = 20
#: 16-bit images below this value use at most a quarter of the range, and are dark.
DARK = 1 << 14
#: The name that StudioGAN gives to no resizing.
WITHOUT = "wo_resize"


@dataclass(frozen=True)
class Preparation:
    """The preparation of every image before it is trained on.

    Attributes:
        img_size: `DATA.img_size`, of the square images that the networks take.
        resizer: `--pre_resizer`; `wo_resize` leaves the size as it is.
        crops: whether the centre square is cut out first; StudioGAN leaves some data sets as they are.
        name: `DATA.name`.
    """

    img_size: int
    resizer: str = WITHOUT
    crops: bool = True
    name: str = ""


def problems(look: DatasetLook, preparation: Preparation, used: Collection[str] | None = None) -> list[str]:
    """The reasons to refuse a run on these images: a sentence each, which names the file or the option.

    Args:
        look: at the data set.
        preparation: what will be done to its images.
        used: the classes that the run trains on; None for all of them.
    """
    root = look.listing.root
    if not any(look.listing.counts.values()):
        return [f"-data: {root} holds no image in a class folder; allowed: {', '.join(IMG_EXTENSIONS)}"]
    sentences = []
    if look.broken:
        first, *others = look.broken
        more = f" (and {_names(_relative(look, others))})" if others else ""
        sentences.append(f"-data: {look.broken[first]}{more}")
    if sizes := _wrong_sizes(look, preparation):
        sentences.append(sizes)
    for name in look.constant_classes:
        if used is None or name in used:
            sentences.append(
                f"-data: every image of the class {name!r} is one colour all over, {look.listing.counts[name]} in "
                f"{root / name}; look at one, and put the class's images there"
            )
    return sentences


def _wrong_sizes(look: DatasetLook, preparation: Preparation) -> str:
    size = preparation.img_size
    if not preparation.crops:
        if all(pair == (size, size) for pair in look.sizes):
            return ""
        return (
            f"DATA.name: StudioGAN leaves the images of a data set named {preparation.name} as they are, {size_range(look)}, and "
            f"DATA.img_size is {size}; give DATA.name another name, and add --pre_resizer lanczos"
        )
    if preparation.resizer != WITHOUT or all(min(pair) == size for pair in look.sizes):
        return ""
    return (
        f"--pre_resizer is missing: the images are {size_range(look)} and DATA.img_size is {size}; add --pre_resizer lanczos, "
        "which resizes them"
    )


def notes(look: DatasetLook, preparation: Preparation) -> list[str]:
    """The notes that a user is told and that refuse nothing, a sentence each."""
    listing, sentences = look.listing, []
    if listing.hidden:
        sentences.append(f"hidden, and left out: {_names(listing.hidden)}")
    if listing.loose:
        sentences.append(f"in no class folder, and left out: {_names(listing.loose)}")
    for name, endings in listing.foreign.items():
        sentences.append(f"files in class {name} that are no images by their ending, and are left out: {', '.join(endings)}")
    if empty := [name for name, count in listing.counts.items() if not count]:
        sentences.append(f"class folders without an image: {_names(empty)}")
    if few := [f"{name} ({count})" for name, count in listing.counts.items() if 0 < count < FEW]:
        sentences.append(f"classes of few images: {_names(few)}")
    if look.decoded < sum(listing.counts.values()):
        sentences.append(
            f"there are many: {look.looked:,} headers and {look.decoded:,} whole images were looked at, evenly spaced"
        )
    if look.constant:
        sentences.append(f"one colour all over: {_names(_relative(look, look.constant))}")
    for name, largest in look.largest.items():
        if largest < DARK:
            sentences.append(
                f"the 16-bit images of class {name} hold values up to {largest}, as {max(1, largest.bit_length())}-bit data do; "
                "the range of 16 bits is read, so they will be dark"
            )
    if look.turned:
        sentences.append(f"{look.turned} ask a viewer to turn them (EXIF); they are read as they are stored")
    if look.paged:
        sentences.append(f"{look.paged} TIFF files have several pages; the first is read")
    if preparation.resizer != WITHOUT and (small := sum(n for pair, n in look.sizes.items() if min(pair) < preparation.img_size)):
        sentences.append(f"{small} are smaller than {preparation.img_size}x{preparation.img_size} and are enlarged")
    return sentences


def summary(look: DatasetLook, preparation: Preparation) -> str:
    """One line of the number, sizes and kinds of the images, and of their preparation."""
    kinds, size, done = list(look.kinds), preparation.img_size, []
    if preparation.crops and any(width != height for width, height in look.sizes):
        done.append("centre square")
    if preparation.resizer != WITHOUT and any(min(pair) != size for pair in look.sizes):
        done.append(f"resized to {size}x{size} ({preparation.resizer})")
    if any("gray" in kind or "1 bit" in kind for kind in kinds):
        done.append("gray in 3 channels")
    if any("16 bit" in kind for kind in kinds):
        done.append("16 bits to 8")
    if any("alpha" in kind for kind in kinds):
        done.append("transparent is black")
    return f"{contents(look)}: {', '.join(done) or 'taken as they are'}"


def contents(look: DatasetLook) -> str:
    """Number, sizes and kinds of the images, the commonest kind first: `1,480, 640x480 to 4000x3000, gray 16 bit`."""
    kinds = sorted(look.kinds, key=lambda kind: -look.kinds[kind])
    return ", ".join([f"{sum(look.listing.counts.values()):,}", size_range(look), *kinds])


def size_range(look: DatasetLook) -> str:
    """`32x32`, or the smallest and the largest by area: `640x480 to 4000x3000`."""
    order = sorted(look.sizes, key=lambda pair: (pair[0] * pair[1], pair))
    if not order:
        return "of no size"
    shown = [f"{width}x{height}" for width, height in (order[0], order[-1])]
    return shown[0] if len(order) == 1 else " to ".join(shown)


def _relative(look: DatasetLook, paths: Sequence[str]) -> list[str]:
    root = look.listing.root
    return [str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path for path in paths]


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
