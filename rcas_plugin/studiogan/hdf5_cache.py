"""The HDF5 file that upstream trains from with `-hdf5`: of the images that are there now, and never in the user's data folder.

A file of the plugin's lies in `SAVE/hdf5/` under a name with the fingerprint of the image files in it. One that the user has put
into the data folder is read where there are no image folders, or where it certainly is of those that are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path

import h5py
import numpy as np

from rcas_plugin.data.folders import Listing, list_folders
from rcas_plugin.errors import RcasError
from rcas_plugin.files import temporary_folder
from rcas_plugin.studiogan.data import hdf5_path

FOLDER = "hdf5"


def hdf5_of(
    data_dir: str | Path, save_dir: str | Path, name: str, img_size: int, resizer: str | None, write: Callable[[str], str]
) -> Path:
    """The HDF5 file to train from; written now unless one of the same image files is there.

    Args:
        data_dir: the data set's folder; only read.
        save_dir: of the run (`-save`); a file that is written lies below it, and takes the place of one of the same data folder.
        name: of the data set.
        img_size: of its images.
        resizer: upstream's name of how they are resized; None where they are not.
        write: writes the file under upstream's name for it into a folder, and returns its path.

    Raises:
        RcasError: there are no image folders, and the user's file is cut off.
    """
    users, folders = hdf5_path(data_dir, name, img_size, resizer), Path(data_dir) / "train"
    if not folders.is_dir() and users.is_file():
        if _labels(users, img_size) is None:
            raise RcasError(
                f"-data: {users} is cut off, or its images are not {img_size}x{img_size}; put a whole file in its place, "
                "or the image folders beside it"
            )
        return users
    fingerprint = name  # a data set of torchvision's, which checks its files itself
    if folders.is_dir():
        listing = list_folders(folders)
        if users.is_file():
            if _is_of(users, listing, img_size):
                return users
            print(f"rcas: {users} may be of other images than those in {folders}; it is left alone, and another is written")
        fingerprint = listing.fingerprint()
    start = f"{users.stem}-{hashlib.sha256(str(Path(data_dir).resolve()).encode()).hexdigest()[:8]}-"
    target = Path(save_dir) / FOLDER / f"{start}{fingerprint}.hdf5"
    if not target.is_file() or _labels(target, img_size) is None:
        _write(target, write)
    for stale in target.parent.glob("*.hdf5"):
        if stale.name.startswith(start) and stale != target:
            stale.unlink()
    return target


def _write(target: Path, write: Callable[[str], str]) -> None:
    """Write the HDF5 file to a folder beside and move it into place, so that it is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target.parent) as beside:
        Path(write(str(beside))).replace(target)


def _labels(path: Path, img_size: int) -> np.ndarray | None:
    """The labels in a file that holds as many images of that size; None where it does not or cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            labels: np.ndarray = file["labels"][:]
            return labels if file["imgs"].shape == (*labels.shape, img_size, img_size, 3) else None
    except (OSError, KeyError):
        return None


def _is_of(path: Path, listing: Listing, img_size: int) -> bool:
    """True where a file certainly is of these folders: it has their classes in order, and is newer than their last change."""
    labels = _labels(path, img_size)
    if labels is None:
        return False
    counts = listing.counts.values()
    wanted = list(chain.from_iterable(repeat(label, count) for label, count in enumerate(counts)))
    about = path.stat()
    return labels.tolist() == wanted and min(about.st_mtime_ns, about.st_ctime_ns) > listing.newest_change()
