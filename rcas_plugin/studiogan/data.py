"""Data of a StudioGAN run: its classes, and the data set of a swap. No image is opened for a label."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import h5py
import torch
from torchvision import transforms
from torchvision.datasets import CIFAR10, CIFAR100

from rcas_plugin.data.look import folder_classes
from rcas_plugin.errors import RcasError
from rcas_plugin.labels import DataClasses, LabelPlan, SwapDataset

#: Data sets that upstream takes from torchvision, 32x32 images, by name.
TORCHVISION = {"CIFAR10": CIFAR10, "CIFAR100": CIFAR100}
#: Data sets that upstream neither crops nor resizes, by name (its `MISC.no_proc_data`).
AS_THEY_ARE = (*TORCHVISION, "Tiny_ImageNet")


def hdf5_path(data_dir: str | Path, name: str, img_size: int, resizer: str | None) -> Path:
    """The path that upstream's `make_hdf5` writes the training data to; `resizer` is None where images are not resized."""
    suffix = f"_{resizer}" if resizer is not None else ""
    return Path(data_dir) / f"{name}_{img_size}{suffix}_train.hdf5"


def data_classes(DATA: Any, RUN: Any, no_resize: Sequence[str]) -> DataClasses:
    """The classes of the training data of a config.

    Args:
        DATA: the config's section of that name.
        RUN: likewise.
        no_resize: names of data sets that upstream never resizes (`MISC.no_proc_data`).

    Raises:
        RcasError: there are no training data.
    """
    if RUN.data_dir is None:
        raise RcasError("-data is missing; give the folder of the data set, which holds train/<class>/ or an HDF5 file")
    root = Path(RUN.data_dir)
    if DATA.name in TORCHVISION:
        data = TORCHVISION[DATA.name](root=str(root), train=True, download=True)
        return _counted(data.targets, tuple(data.classes))
    if (root / "train").is_dir():
        return folder_classes(root / "train")
    stored = hdf5_path(root, DATA.name, DATA.img_size, None if DATA.name in no_resize else RUN.pre_resizer)
    if RUN.load_train_hdf5 and stored.is_file():
        try:
            with h5py.File(stored, "r") as file:
                labels = file["labels"][:].tolist()
        except (OSError, KeyError):
            raise RcasError(f"-data: {stored} cannot be read; delete it, or put it back whole") from None
        return _counted(labels, tuple(str(index) for index in range(max(labels) + 1)))
    raise RcasError(f"-data: {root} holds no train/<class>/ folders" + (f" and no {stored.name}" if RUN.load_train_hdf5 else ""))


def named_classes(DATA: Any, RUN: Any) -> tuple[str, ...]:
    """The names of the training data's classes by index; empty where they have none, as in HDF5 files."""
    root = Path(RUN.data_dir or "")
    if RUN.data_dir is not None and DATA.name in TORCHVISION:
        try:
            return tuple(TORCHVISION[DATA.name](root=str(root), train=True, download=False).classes)
        except RuntimeError:  # not there, or there as HDF5 alone
            return ()
    folders = root / "train"
    return folder_classes(folders).names if RUN.data_dir is not None and folders.is_dir() else ()


def _counted(targets: Sequence[int], names: tuple[str, ...]) -> DataClasses:
    counts = Counter(targets)
    return DataClasses(names, tuple(counts[index] for index in range(len(names))))


def swap_dataset(
    base: Any,
    plan: LabelPlan,
    classes: DataClasses,
    img_size: int,
    pre_resizer: str,
    *,
    balance: bool = False,
    share: float = 0.0,
) -> SwapDataset:
    """Upstream's `Dataset_` with old-class images left out and new-class images under the slot's label.

    Classes are matched by name where the data set has names: a validation folder may lack some of them.
    """
    targets, names = _targets(base)
    if names is not None and names != classes.names:
        place = {name: index for index, name in enumerate(classes.names)}
        targets = [place.get(names[target], -1) for target in targets]
    transform = _image_transform(base, img_size, pre_resizer) if plan.new_files else None
    return SwapDataset(base, targets, plan, transform, balance=balance, share=share)


def targets_and_names(base: Any) -> tuple[list[int], tuple[str, ...]]:
    """The class index of every item of upstream's `Dataset_`, and the classes' names (their indices where there are none)."""
    targets, names = _targets(base)
    return targets, names if names is not None else tuple(str(index) for index in range(max(targets) + 1))


def _targets(base: Any) -> tuple[list[int], tuple[str, ...] | None]:
    if base.hdf5_path is not None:
        with h5py.File(base.hdf5_path, "r") as file:
            return file["labels"][:].tolist(), None
    return list(base.data.targets), tuple(base.data.classes)


def _image_transform(base: Any, img_size: int, pre_resizer: str) -> Callable[[Any], torch.Tensor]:
    """Upstream's transform of an image of a folder: crop the long edge, resize, maybe flip, to a tensor in [-1, 1]."""
    data_util = importlib.import_module("data_util")
    resizers = data_util.resizer_collection
    steps = [
        data_util.CenterCropLongEdge(),
        transforms.Resize(img_size, interpolation=resizers.get(pre_resizer, resizers["lanczos"])),
    ]
    if base.random_flip:
        steps.append(transforms.RandomHorizontalFlip())
    if base.normalize:
        steps += [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    else:
        steps.append(transforms.PILToTensor())
    return cast("Callable[[Any], torch.Tensor]", transforms.Compose(steps))
