"""Cures for files: image folders, HDF5 data that may be small or of other images, checkpoints that are replaced and not lost."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py

from rcas_plugin.checkpoints.folder import write_checkpoint
from rcas_plugin.data.folders import ClassFolders
from rcas_plugin.studiogan.cures import cure
from rcas_plugin.studiogan.hdf5_cache import hdf5_of
from rcas_plugin.studiogan.seams import replace
from rcas_plugin.studiogan.stop import stop_with_a_sentence


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
    """Train from an HDF5 file of the images that are there now, written whole under -save."""

    def make(original: Any) -> Any:
        @functools.wraps(original)
        @stop_with_a_sentence
        def make_hdf5(name: str, img_size: int, crop_long_edge: bool, resize_size: int | None, data_dir: str,
                      resizer: str, DATA: Any, RUN: Any) -> tuple[str, bool, None]:  # fmt: skip
            def write(folder: str) -> str:
                return str(original(name=name, img_size=img_size, crop_long_edge=crop_long_edge, resize_size=resize_size,
                                    data_dir=folder, resizer=resizer, DATA=DATA, RUN=RUN)[0])  # fmt: skip

            how = resizer if resize_size is not None else None
            return str(hdf5_of(data_dir, RUN.save_dir, name, img_size, how, write)), False, None

        return make_hdf5

    replace("utils.hdf5.make_hdf5", "whole files", make)


@cure("data_util.py", "ImageFolder takes hidden folders for classes, fails on an empty one, and reads 16 bits as black or white")
def class_folders() -> None:
    """Give upstream's data sets the plugin's listing of class folders and its loader of images."""
    replace("data_util.ImageFolder", "listing and loader", lambda original: ClassFolders)


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
