"""The check of a run's images before anything is written: the ones that upstream will read, their fit, their preparation."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py

from rcas_plugin.data.check import WITHOUT, Preparation, notes, problems, summary
from rcas_plugin.data.folders import image_files
from rcas_plugin.data.look import DatasetLook, look_at, look_at_files, seen
from rcas_plugin.errors import RcasError
from rcas_plugin.labels import DataClasses
from rcas_plugin.run.images import images_seen
from rcas_plugin.studiogan.data import AS_THEY_ARE, TORCHVISION, data_classes, hdf5_path
from rcas_plugin.studiogan.run import SwapRun, empty_networks

#: The sizes of images that upstream's backbones are tried for.
_SIZES = (32, 64, 128, 256, 512, 1024)
_CIFAR_SIZE = 32


def check_img_size(cfgs: Any) -> None:
    """Raise `RcasError` where the config's backbone has no layers for `DATA.img_size`; upstream looks them up by the size."""
    if _is_known(cfgs, cfgs.DATA.img_size):
        return
    config = copy.copy(cfgs)
    allowed = [size for size in _SIZES if _is_known(config, size)]
    raise RcasError(
        f"DATA.img_size: {cfgs.MODEL.backbone} makes no images of {cfgs.DATA.img_size}x{cfgs.DATA.img_size}; "
        f"allowed: {', '.join(map(str, allowed))}"
    )


def _is_known(cfgs: Any, size: Any) -> bool:
    if cfgs.MODEL.backbone in ("stylegan2", "stylegan3"):  # any power of two; they are large, and not built for this
        return isinstance(size, int) and size >= 4 and size & (size - 1) == 0
    tried = copy.copy(cfgs)
    tried.DATA = copy.copy(cfgs.DATA)
    tried.DATA.img_size = size
    try:
        empty_networks(tried)
    except KeyError as error:
        return error.args != (str(size),)
    except Exception:  # another key's fault; upstream or the check of the checkpoint says so
        return True
    return True


def check_data(cfgs: Any, swap: SwapRun | None) -> None:
    """Look at the images that a run will read and say in a line what is done to them; nothing is written.

    What they are is kept for the record, in `cfgs.rcas_images`.

    Args:
        cfgs: upstream's Configurations, read and checked.
        swap: what an `RCAS` section asks for, or None.

    Raises:
        RcasError: they cannot be read, do not fit the config, or are not there; one sentence.
    """
    RUN, DATA = cfgs.RUN, cfgs.DATA
    trains = bool(RUN.train or RUN.GAN_train or RUN.GAN_test)
    judged_by = _evaluations(RUN)
    if not trains and not judged_by:
        return
    if DATA.name in TORCHVISION:
        if DATA.img_size != _CIFAR_SIZE:
            raise RcasError(
                f"DATA.img_size: {DATA.img_size}, and StudioGAN takes {DATA.name} as it is, {_CIFAR_SIZE}x{_CIFAR_SIZE}; "
                f"set it to {_CIFAR_SIZE}"
            )
        return
    preparation = preparation_of(cfgs)
    classes = data_classes(DATA, RUN, cfgs.MISC.no_proc_data)
    root = Path(RUN.data_dir)
    if not (root / "train").is_dir():
        if judged_by:
            raise RcasError(
                f"{judged_by}: the evaluation reads image folders, and {root} holds an HDF5 file alone; leave the option out "
                "(-metrics none), or put the folders there"
            )
        _check_hdf5(hdf5_path(root, DATA.name, DATA.img_size, _resizer(cfgs)), DATA)
        return
    used = None if swap is None else {classes.names[index] for index in swap.plan.class_to_label}
    if trains or RUN.ref_dataset == "train":
        look = look_at(root / "train")
        _refuse(look, preparation, used)
        cfgs.rcas_images = images_seen(seen(look), None if swap is None else swap.settings, RUN.ckpt_dir)
        if swap is None:
            _check_ifid(RUN, classes)
        _say("images", look, preparation)
    if judged_by and RUN.ref_dataset != "train":
        _check_valid(root / "valid", RUN.ref_dataset, preparation, used)
    elif RUN.GAN_train and (root / "valid").is_dir():  # what its classifier is tested on
        _check_valid(root / "valid", "valid", preparation, used)
    if swap is not None and swap.plan.new_files:
        _check_new(swap, preparation)


def check_swap_images(data: Path, DATA: Mapping[str, Any], old: str, new: str, new_data: Path | None) -> None:
    """Raise `RcasError` where main.py would refuse the images; for `rcas swap`, before it writes its config.

    Args:
        data: the data set's folder.
        DATA: the config's section of that name.
        old: the class that is given up.
        new: the new class.
        new_data: a folder with its images, where they are not in `data`.
    """
    look = look_at(data / "train")
    name, size = str(DATA.get("name", "")), int(DATA.get("img_size", _CIFAR_SIZE))
    preparation = Preparation(size, WITHOUT, False, name) if name in AS_THEY_ARE else Preparation(size, "lanczos")
    _refuse(look, preparation, set(look.classes.names) - {old})
    if new_data is not None:
        folder = new_data / new if (new_data / new).is_dir() else new_data
        _refuse(look_at_files(folder, {new: image_files(folder)}), Preparation(size, "lanczos"), None)


def preparation_of(cfgs: Any) -> Preparation:
    """Upstream's preparation of each image under a config and its options."""
    crops = cfgs.DATA.name not in cfgs.MISC.no_proc_data
    return Preparation(cfgs.DATA.img_size, cfgs.RUN.pre_resizer if crops else WITHOUT, crops, cfgs.DATA.name)


def _resizer(cfgs: Any) -> str | None:
    return None if cfgs.DATA.name in cfgs.MISC.no_proc_data else cfgs.RUN.pre_resizer


def _evaluations(RUN: Any) -> str:
    """The first option that makes upstream read the reference data, or ""."""
    metrics = [name for name in RUN.eval_metrics if name != "none"]
    options = {"-sr": RUN.save_real_images, "-knn": RUN.k_nearest_neighbor, "-fa": RUN.frequency_analysis,
               "-tsne": RUN.tsne_analysis, "-ifid": RUN.intra_class_fid}  # fmt: skip
    wanted = [option for option, is_set in options.items() if is_set]
    if metrics and "none" not in RUN.eval_metrics:
        wanted.insert(0, f"-metrics {' '.join(metrics)}")
    return wanted[0] if wanted else ""


def _refuse(look: DatasetLook, preparation: Preparation, used: Collection[str] | None) -> None:
    sentences = problems(look, preparation, used)
    if sentences:
        more = f"; and {len(sentences) - 1} more: rcas doctor --data names them" if len(sentences) > 1 else ""
        raise RcasError(sentences[0] + more)


def _say(what: str, look: DatasetLook, preparation: Preparation) -> None:
    print(f"rcas: {what}: {summary(look, preparation)}", *(f"  {note}" for note in notes(look, preparation)), sep="\n")


def _check_ifid(RUN: Any, classes: DataClasses) -> None:
    """Raise `RcasError` where -ifid meets a class without images: upstream computes it for every class, and fails there."""
    empty = [name for name, number in zip(classes.names, classes.counts, strict=True) if not number]
    if RUN.intra_class_fid and empty:
        raise RcasError(f"-ifid: the class {empty[0]!r} has no images in {RUN.data_dir}; leave out the option or the folder")


def _check_valid(root: Path, option: str, preparation: Preparation, used: Collection[str] | None) -> None:
    if not root.is_dir():
        raise RcasError(f"-ref {option}: there is no folder {root}; leave the option out, or put images there, a folder a class")
    look = look_at(root)
    _refuse(look, preparation, used)
    _say(f"reference images ({root.name})", look, preparation)


def _check_new(swap: SwapRun, preparation: Preparation) -> None:
    """Check the images of `RCAS.new_data`, which are always cropped and resized: they come from elsewhere."""
    files = {swap.plan.names[label]: paths for label, paths in swap.plan.new_files.items()}
    look = look_at_files(str(swap.settings.new_data), files)
    resizer = "lanczos" if preparation.resizer == WITHOUT else preparation.resizer
    resized = Preparation(preparation.img_size, resizer)
    sentences = [sentence.replace("-data:", "RCAS.new_data:", 1) for sentence in problems(look, resized)]
    if sentences:
        raise RcasError(sentences[0])
    _say("images of RCAS.new_data", look, resized)


def _check_hdf5(path: Path, DATA: Any) -> None:
    """Raise `RcasError` unless an HDF5 file holds uint8 images of the config's size and their labels."""
    try:
        with h5py.File(path, "r") as file:
            images, labels = file["imgs"], file["labels"]
            shape, kind, count, top = images.shape, images.dtype, labels.shape[0], int(max(labels[:], default=-1))
    except (OSError, KeyError):
        raise RcasError(f"-data: {path} cannot be read; put a whole file with imgs and labels in its place") from None
    wanted = (DATA.img_size, DATA.img_size, 3)
    if len(shape) != 4 or shape[1:] != wanted or kind != "uint8":
        raise RcasError(
            f"-data: {path} holds images of {'x'.join(map(str, shape[1:]))} {kind}, and DATA.img_size asks for "
            f"{'x'.join(map(str, wanted))} uint8; write it again, or set DATA.img_size"
        )
    if not count or count != shape[0]:
        raise RcasError(f"-data: {path} holds {shape[0]} images and {count} labels; write it again with one label an image")
    print(f"rcas: images: {count:,}, {shape[2]}x{shape[1]}, of {top + 1} classes, from {path}: taken as they are", flush=True)
