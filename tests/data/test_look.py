"""The look at a data set, and what it means for a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rcas_plugin.data.check import Preparation, notes, problems, summary
from rcas_plugin.data.look import folder_classes, look_at
from rcas_plugin.labels import DataClasses

SOURCE = np.random.default_rng(0)


def noise(path: Path, size: tuple[int, int] = (32, 32), *, high: int = 256, kind: Any = np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(SOURCE.integers(0, high, size[::-1]).astype(kind)).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in "ab":
        for number in range(3):
            noise(tmp_path / "train" / name / f"{number}.png")
    return tmp_path / "train"


def test_images_that_fit_are_taken_as_they_are(root: Path) -> None:
    look = look_at(root)
    assert look.classes == folder_classes(root) == DataClasses(("a", "b"), (3, 3))
    assert (look.looked, look.decoded, dict(look.sizes), dict(look.kinds)) == (6, 6, {(32, 32): 6}, {"gray": 6})
    assert problems(look, Preparation(32)) == []
    assert summary(look, Preparation(32)) == "6, 32x32, gray: gray in 3 channels"
    assert notes(look, Preparation(32)) == ["classes of few images: a (3), b (3)"]


def test_other_sizes_need_a_resizer(root: Path) -> None:
    """F8: images of another size with `wo_resize` are refused, with the sizes and the option; a longer edge is cropped."""
    noise(root / "b" / "wide.png", (48, 32))
    assert problems(look_at(root), Preparation(32)) == []
    assert "centre square" in summary(look_at(root), Preparation(32))
    (wrong,) = problems(look_at(root), Preparation(64))
    assert "--pre_resizer is missing: the images are 32x32 to 48x32 and DATA.img_size is 64; add --pre_resizer lanczos" in wrong
    noise(root / "b" / "large.png", (400, 300), kind=np.uint16, high=65536)
    look = look_at(root)
    (wrong,) = problems(look, Preparation(32))
    assert "the images are 32x32 to 400x300" in wrong
    assert problems(look, Preparation(32, "lanczos")) == []
    what, done = summary(look, Preparation(32, "lanczos")).split(": ")
    assert what == "8, 32x32 to 400x300, gray, gray 16 bit"
    assert done == "centre square, resized to 32x32 (lanczos), gray in 3 channels, 16 bits to 8"
    assert "7 are smaller than 64x64 and are enlarged" in notes(look, Preparation(64, "lanczos"))
    (wrong,) = problems(look, Preparation(32, crops=False, name="Tiny_ImageNet"))
    assert wrong.startswith("DATA.name: StudioGAN leaves the images of a data set named Tiny_ImageNet as they are")


def test_broken_files_are_named(root: Path) -> None:
    """L10: every broken file by name, before anything is read for training."""
    for number in range(5):
        path = noise(root / "b" / f"cut{number}.png")
        path.write_bytes(path.read_bytes()[:200])
    look = look_at(root)
    assert len(look.broken) == 5
    (wrong,) = problems(look, Preparation(32))
    assert wrong.startswith(f"-data: {root / 'b' / 'cut0.png'} cannot be read: ")
    assert wrong.endswith(f"(and {Path('b') / 'cut1.png'}, {Path('b') / 'cut2.png'}, {Path('b') / 'cut3.png'} and 1 more)")


def test_constant_images_are_noticed(root: Path) -> None:
    """L7: constant images are named; a used class of nothing else is refused."""
    Image.new("L", (32, 32), 9).save(root / "a" / "flat.png")
    for number in range(2):
        Image.new("L", (32, 32), 40 * number).save(root / "b" / f"{number}.png")
    look = look_at(root)
    assert problems(look, Preparation(32)) == []
    (said,) = [note for note in notes(look, Preparation(32)) if "one colour" in note]
    assert said == "one colour all over: a/flat.png, b/0.png, b/1.png"
    (root / "b" / "2.png").unlink()
    (wrong,) = problems(look_at(root), Preparation(32))
    assert wrong.startswith("-data: every image of the class 'b' is one colour all over, 2 in ")
    assert problems(look_at(root), Preparation(32), used={"a"}) == []


def test_depths_that_will_be_dark(root: Path) -> None:
    """L7: 12-bit data in 16-bit files are said to be dark, for the class that has them."""
    for number in range(2):
        noise(root / "c" / f"{number}.png", high=4096, kind=np.uint16)
        noise(root / "d" / f"{number}.png", high=65536, kind=np.uint16)
    dark = [note for note in notes(look_at(root), Preparation(32)) if "dark" in note]
    assert len(dark) == 1
    assert "class c hold values up to 40" in dark[0]
    assert "12-bit data" in dark[0]


def test_what_was_left_out_is_said(root: Path) -> None:
    """L10: hidden folders, loose files, empty classes and files of other types are said, and no error."""
    noise(root / ".ipynb_checkpoints" / "1.png")
    noise(root / "loose.png")
    (root / "gone").mkdir()
    (root / "a" / "1.heic").touch()
    said = notes(look_at(root), Preparation(32))
    assert said[:4] == [
        "hidden, and left out: .ipynb_checkpoints",
        "in no class folder, and left out: loose.png",
        "files in class a that are no images by their ending, and are left out: .heic",
        "class folders without an image: gone",
    ]


def test_no_image_at_all(tmp_path: Path) -> None:
    """L10: an empty data folder is one sentence."""
    (tmp_path / "train" / "a").mkdir(parents=True)
    assert problems(look_at(tmp_path / "train"), Preparation(32))[0].startswith("-data: ")
    assert "holds no image in a class folder" in problems(look_at(tmp_path / "train"), Preparation(32))[0]


def test_of_many_images_some_are_looked_at(root: Path) -> None:
    look = look_at(root, files=4, pixels=2 * 32 * 32)
    assert (look.looked, look.decoded) == (4, 2)
    assert any("4 headers and 2 whole images were looked at" in note for note in notes(look, Preparation(32)))
