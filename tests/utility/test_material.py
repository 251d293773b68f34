"""The real images: read alike, drawn by the seed, and looked through for what makes a test too easy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rcas_plugin import RcasError
from rcas_plugin.utility.material import Material, read_material
from rcas_plugin.utility.photographs import PATTERN

from .conftest import CORNERS, squares


def test_what_is_read(material: Material) -> None:
    assert material.train.images.shape == (36, 1, 16, 16), "gray images are of one channel"
    assert torch.equal(material.train.images[:12], squares("a", 12, 0))
    assert material.classes == ("a", "b", "new")
    assert (material.new, material.of_new, material.usual) == (2, 12, 12)
    assert material.train.photographs[:3] == ("a/0000", "a/0000", "a/0001")
    assert not material.remarks()


def test_few_images_are_among_more(material: Material) -> None:
    sets = [set(material.with_new(count, 0).files) for count in (2, 5, 12)]
    assert [len(files) for files in sets] == [26, 29, 36]
    assert sets[0] < sets[1] < sets[2]
    assert set(material.with_new(2, 1).files) != sets[0]
    assert torch.bincount(material.with_new(5, 0).labels).tolist() == [12, 12, 5]


def test_colour_and_odd_shapes(folders: Path) -> None:
    Image.fromarray(np.full((20, 40, 3), (255, 0, 0), np.uint8)).save(folders / "train" / "a" / "9999_0.png")
    listed = {name: [str(file) for file in sorted((folders / "train" / name).iterdir())] for name in CORNERS}
    material = read_material(listed, listed, "new", 8, PATTERN)
    assert material.train.images.shape == (37, 3, 8, 8)
    assert (material.train.images[12] == torch.tensor([255, 0, 0])[:, None, None]).all()


def test_a_photograph_on_both_sides_is_said(folders: Path) -> None:
    shutil.copy(folders / "valid" / "a" / "0050_0.png", folders / "train" / "a" / "0050_7.png")
    listed = [{name: sorted(map(str, (folders / part / name).iterdir())) for name in CORNERS} for part in ("train", "valid")]
    photographs, twice = read_material(listed[0], listed[1], "new", 16, PATTERN).remarks()
    assert photographs.startswith("1 photographs have images in training and in the test alike (a/0050 is one)")
    assert twice.startswith("1 test images are training images as well")


def test_a_class_without_images_is_named(folders: Path) -> None:
    listed = {name: sorted(map(str, (folders / "train" / name).iterdir())) for name in CORNERS}
    with pytest.raises(RcasError, match="--data: the class 'b' has no test images"):
        read_material(listed, {**listed, "b": []}, "new", 16, PATTERN)
