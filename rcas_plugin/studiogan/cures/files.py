"""Cures for files: HDF5 data that may be small or half written, checkpoints that are replaced and not lost."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py

from rcas_plugin.files import remove_leftovers, temporary_folder
from rcas_plugin.studiogan.checkpoints import write_checkpoint
from rcas_plugin.studiogan.cures import cure
from rcas_plugin.studiogan.data import folder_classes, hdf5_path
from rcas_plugin.studiogan.seams import replace


class _ChunksThatFit(h5py.File):  # type: ignore[misc]
    """An HDF5 file whose data sets' chunks are never larger than the data."""

    def create_dataset(self, name: str, *args: Any, **options: Any) -> Any:
        if options.get("chunks") and options.get("maxshape"):
            options["chunks"] = tuple(min(pair) for pair in zip(options["chunks"], options["maxshape"], strict=True))
        return super().create_dataset(name, *args, **options)


@cure("utils/hdf5.py", "fixes the chunk at 500 images, which fails for a data set under 500")
def chunks_that_fit() -> None:
    """Give upstream's HDF5 writer chunks of at most the data set's size."""
    replace("utils.hdf5.h5", "chunks", lambda original: SimpleNamespace(File=_ChunksThatFit))


@cure("utils/hdf5.py", "a half-written or outdated HDF5 file is taken as whole: only its existence is asked for")
def whole_hdf5_files() -> None:
    """Write HDF5 data to a folder beside and move it into place; write again where it does not fit the image folders."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def make_hdf5(name: str, img_size: int, crop_long_edge: bool, resize_size: int | None, data_dir: str,
                      resizer: str, DATA: Any, RUN: Any) -> tuple[str, bool, None]:  # fmt: skip
            target = hdf5_path(data_dir, name, img_size, resizer if resize_size is not None else None)
            if target.is_file() and not _is_whole(target, Path(data_dir) / "train"):
                print(f"{target} is incomplete or older than the image folders; it is written again.")
                target.unlink()
            if target.is_file():
                return str(target), False, None
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(data_dir)  # before the room for another is taken
            with temporary_folder(data_dir) as beside:
                made = original(name=name, img_size=img_size, crop_long_edge=crop_long_edge, resize_size=resize_size,
                                data_dir=str(beside), resizer=resizer, DATA=DATA, RUN=RUN)[0]  # fmt: skip
                Path(made).replace(target)
            return str(target), False, None

        return make_hdf5

    replace("utils.hdf5.make_hdf5", "whole files", make)


def _is_whole(path: Path, folders: Path) -> bool:
    """Whether an HDF5 file can be read and holds as many images as the folders that it was made of, where they are there."""
    try:
        with h5py.File(path, "r") as file:
            images, labels = file["imgs"].shape[0], file["labels"].shape[0]
    except (OSError, KeyError):
        return False
    if not folders.is_dir():
        return bool(images == labels)
    return bool(images == labels == sum(folder_classes(folders).counts))


@cure("utils/misc.py", "save_model deletes the old checkpoint before the new one is written")
def checkpoints_replaced_not_lost() -> None:
    """Write the new checkpoint whole, and only then remove the one before it."""

    def save_model(model: str, when: str, step: int, ckpt_dir: str, states: dict[str, Any]) -> None:
        write_checkpoint(ckpt_dir, model, when, step, states)

    replace("utils.misc.save_model", "replaced", lambda original: functools.wraps(original)(save_model))


@cure(
    "utils/ckpt.py",
    "load_best_model ends with IndexError where no best checkpoint was written (-metrics none)",
)
def best_model_may_be_missing() -> None:
    """Keep the networks as they are where there is no best checkpoint."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def load_best_model(ckpt_dir: str, **networks: Any) -> Any:
            names = [path.name for path in Path(ckpt_dir).iterdir()]
            if any(name.startswith("model=D-best-weights-step") for name in names):
                return original(ckpt_dir=ckpt_dir, **networks)
            current = [name for name in names if name.startswith("model=D-current-weights-step=")]
            return max((int(name.removesuffix(".pth").split("step=")[1]) for name in current), default=0)

        return load_best_model

    replace("utils.ckpt.load_best_model", "missing", make)
