"""One listing of class folders, for whoever reads them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from rcas_plugin import RcasError
from rcas_plugin.data.folders import ClassFolders, class_names, image_files, list_folders


def image(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.arange(16).reshape(4, 4) + level).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b/2.png", "b/deep/1.png", "b/10.png", "b.c/1.png", "a/1.PNG"):
        image(tmp_path / "train" / name)
    return tmp_path / "train"


def test_the_order_is_torchvisions(root: Path) -> None:
    """Seeds give what they gave: the same classes and files in the same order."""
    ours, theirs = ClassFolders(root), ImageFolder(str(root))
    assert ours.samples == theirs.samples
    assert ours.class_to_idx == theirs.class_to_idx
    assert ours.targets == theirs.targets
    assert ours[0][0].mode == "RGB"


def test_hidden_folders_and_files_are_left_out(root: Path) -> None:
    """L10: `.ipynb_checkpoints` in the data folder or in a class is no class, and its copies are no images."""
    before = ClassFolders(root).samples
    for name in (".ipynb_checkpoints/1.png", "b/.ipynb_checkpoints/2-checkpoint.png", "b/._2.png", "__MACOSX/b/2.png"):
        image(root / name)
    (root / ".DS_Store").touch()
    image(root / "loose.png")
    (root / "a" / "notes.txt").touch()
    listing = list_folders(root)
    assert ClassFolders(root).samples == before
    assert class_names(root) == tuple(listing.files) == ("a", "b", "b.c")
    assert listing.counts == {"a": 1, "b": 3, "b.c": 1}
    assert set(listing.hidden) == {".DS_Store", ".ipynb_checkpoints", "__MACOSX", "b/.ipynb_checkpoints", "b/._2.png"}
    assert listing.loose == ("loose.png",)
    assert listing.foreign == {"a": (".txt",)}


def test_an_emptied_class_is_a_class(root: Path) -> None:
    """L10: the old class's folder, emptied but kept, is no error."""
    (root / "a" / "1.PNG").unlink()
    data = ClassFolders(root)
    assert data.classes == ["a", "b", "b.c"]
    assert set(data.targets) == {1, 2}


def test_what_cannot_be_listed_is_named(root: Path) -> None:
    for ask in (list_folders, class_names, image_files, ClassFolders):
        with pytest.raises(RcasError, match=r"^-data: there is no folder .*nowhere"):
            ask(root / "nowhere")


def test_a_fingerprint_tells_files_that_look_alike(root: Path) -> None:
    """L5: another file of the same name, size and time is another; a hidden file is none; moving the whole changes nothing."""
    first = list_folders(root).fingerprint()
    assert list_folders(root).fingerprint() == first
    (root / ".DS_Store").touch()
    assert list_folders(root).fingerprint() == first
    root = root.rename(root.parent / "moved")
    assert list_folders(root).fingerprint() == first
    about = (root / "b" / "2.png").stat()
    content = (root / "b" / "2.png").read_bytes()
    (root / "b" / "2.png").write_bytes(content)
    os.utime(root / "b" / "2.png", ns=(about.st_atime_ns, about.st_mtime_ns))
    second = list_folders(root).fingerprint()
    assert second != first, "written over in place, its time put back"
    other = image(root.parent / "other" / "1.png")
    kept = (root / "b.c" / "1.png").stat()
    os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    (root / "b.c").rename(root.parent / "old")
    (root.parent / "other").rename(root / "b.c")
    assert list_folders(root).fingerprint() != second, "a class folder replaced by another of as many images"
