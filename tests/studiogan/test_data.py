"""Classes of a data set, with no image opened."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from rcas_plugin import RcasError
from rcas_plugin.labels import DataClasses
from rcas_plugin.studiogan.data import data_classes, folder_classes, hdf5_path


def config(root: Path | None, *, hdf5: bool = False) -> tuple[SimpleNamespace, SimpleNamespace]:
    RUN = SimpleNamespace(data_dir=None if root is None else str(root), load_train_hdf5=hdf5, pre_resizer="lanczos")
    return SimpleNamespace(name="toy", img_size=32), RUN


def test_folders_in_order_with_their_counts(tmp_path: Path) -> None:
    for name, files in {"b": ["1.png", "2.JPG", "notes.txt"], "a": ["deep/1.jpeg"], "empty": []}.items():
        (tmp_path / "train" / name / "deep").mkdir(parents=True)
        for file in files:
            (tmp_path / "train" / name / file).write_bytes(b"no image")
    assert folder_classes(tmp_path / "train") == DataClasses(("a", "b", "empty"), (1, 2, 0))
    assert data_classes(*config(tmp_path), []) == folder_classes(tmp_path / "train")


def test_hdf5_without_folders(tmp_path: Path) -> None:
    path = hdf5_path(tmp_path, "toy", 32, "lanczos")
    assert path.name == "toy_32_lanczos_train.hdf5"
    with h5py.File(path, "w") as file:
        file["imgs"], file["labels"] = np.zeros((4, 2, 2, 3), np.uint8), np.array([0, 2, 2, 0])
    assert data_classes(*config(tmp_path, hdf5=True), []) == DataClasses(("0", "1", "2"), (2, 0, 2))
    with pytest.raises(RcasError, match="holds no train/<class>/ folders"):
        data_classes(*config(tmp_path), [])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RcasError, match="cannot be read; delete it"):
        data_classes(*config(tmp_path, hdf5=True), [])


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(RcasError, match="-data is missing"):
        data_classes(*config(None), [])
