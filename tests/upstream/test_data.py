"""Images as they come, through the real main.py: what fits is read as what it is, what does not is one sentence."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from rcas_plugin.record import read_record

from .conftest import TRAIN, Trained, run_main, write_config, write_images
from .test_bad_input import driven, files

pytestmark = pytest.mark.slow

README = (Path(__file__).parents[2] / "README.md").read_text().replace("\\\n", " ")


def camera_images(root: Path, names: str, count: int = 6) -> Path:
    """Class folders of images as cameras write them: sizes of their own, 16-bit gray PNG and TIFF, RGBA."""
    source = np.random.default_rng(1)
    for index, name in enumerate(names):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for number in range(count):
            shape = (40 + 8 * number, 90 - 6 * number)
            gray = source.integers(0, 12_000, shape) + 12_000 * index
            if number % 3 == 2:
                rgba = np.dstack([*[gray // 257] * 3, np.full(shape, 255)])
                Image.fromarray(rgba.astype(np.uint8)).save(folder / f"{number}.png")
            else:
                Image.fromarray(gray.astype(np.uint16)).save(folder / f"{number}.{('png', 'tif')[number % 3]}")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    return root


def test_the_readmes_steps_on_a_cameras_images(studiogan: Path, tmp_path: Path) -> None:
    """F8: README's step-by-step command on mixed sizes, 16-bit gray and RGBA, with HDF5 and without."""
    data = camera_images(tmp_path / "data", "abcd")
    (data / "train" / "d").rename(tmp_path / "d")
    command = re.search(r"python src/main\.py (.*-cfg swap\.yaml.*)", README)
    assert command is not None
    step = command[1].split()[command[1].split().index("-t") :]
    options = ["--num_workers", "0", "--print_freq", "2", "--save_freq", "2"]

    def run(config: Path, save: Path, checkpoint: Path | None, *more: str) -> str:
        places = {"swap.yaml": config, "DATA": data, "OUT": save, "checkpoints/PRETRAINED": checkpoint}
        given = [str(places.get(word, word)) for word in step]
        if checkpoint is None:
            del given[given.index("-ckpt") : given.index("-ckpt") + 2]
        return run_main(studiogan, *given, *options, *more).stdout

    said = run(write_config(tmp_path / "pretrain.yaml", steps=2), tmp_path / "pre", None, "-hdf5", "-l")
    assert "rcas: images: 18, 90x40 to 60x80, gray 16 bit, RGB with alpha: centre square, resized to 32x32 (lanczos)" in said
    assert "gray in 3 channels, 16 bits to 8" in said
    assert "hidden, and left out: .ipynb_checkpoints" in said
    (stored,) = (tmp_path / "pre" / "hdf5").iterdir()
    with h5py.File(stored) as file:
        levels = [float(file["imgs"][:][file["labels"][:] == label].mean()) for label in range(3)]
    assert np.allclose(levels, [23.3, 70.0, 116.7], atol=2), "12,000 of 65,535 apart, and neither black nor white"

    (checkpoint,) = (tmp_path / "pre" / "checkpoints").iterdir()
    (tmp_path / "d").rename(data / "train" / "d")
    shutil.rmtree(data / "train" / "b")
    (data / "train" / "b").mkdir()  # the old class's folder, emptied but kept
    section = {"swap": {"b": "d"}, "snapshot_images": 2, "swap_metrics": 2, "label_start": {"iterations": 2}}
    said = run(write_config(tmp_path / "swap.yaml", steps=2, RCAS=section), tmp_path / "out", checkpoint)
    assert "rcas: images: 18, " in said
    assert "class folders without an image: b" in said
    (swapped,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert read_record(swapped).labels == ("a", "d", "c")
    assert {path.name for path in data.iterdir()} == {"train"}, "nothing is written into the data folder"


def test_data_that_do_not_fit_are_one_sentence(trained: Trained, tmp_path: Path) -> None:
    """F8 L7 L10: each case of images that cannot be trained on, plain and as a swap; nothing is written."""
    made: dict[str, tuple[list[str], str]] = {}
    plain = write_config(tmp_path / "plain.yaml", classes=4)
    swap = trained.swap_config(tmp_path / "swap.yaml")

    def data(name: str, change: Callable[[Path], Any]) -> Path:
        root = write_images(tmp_path / "data" / name, "abcd")
        change(root)
        return root

    def case(name: str, sentence: str, root: Path, *options: str, cfg: Path = plain, ckpt: bool = False) -> None:
        given = [*TRAIN, "-cfg", str(cfg), "-data", str(root), "-save", str(tmp_path / "out" / name), *options]
        made[name] = (given + (["-ckpt", str(trained.checkpoint)] if ckpt else []), sentence)

    def large(root: Path) -> None:
        for path in (root / "train" / "d").iterdir():
            Image.open(path).resize((50, 40)).save(path)

    def cut(root: Path) -> None:
        path = root / "train" / "c" / "3.png"
        path.write_bytes(path.read_bytes()[:300])

    def flat(root: Path) -> None:
        for path in (root / "train" / "d").iterdir():
            Image.new("L", (32, 32), 200).save(path)

    def wide(root: Path) -> None:
        Image.fromarray(np.full((32, 32), 70_000, np.int32)).save(root / "train" / "a" / "x.tif")

    def empty(root: Path) -> None:
        for path in (root / "train").glob("*/*"):
            path.unlink()

    sizes = "--pre_resizer is missing: the images are 32x32 to 50x40 and DATA.img_size is 32; add --pre_resizer lanczos"
    for name, change, sentence in (
        ("sizes", large, sizes),
        ("broken", cut, f"{tmp_path}/data/broken/train/c/3.png cannot be read"),
        ("constant", flat, "every image of the class 'd' is one colour all over, 6 in "),
        ("range", wide, "x.tif cannot be read: its values go from 70000 to 70000"),
    ):
        root = data(name, change)
        case(name, sentence, root)
        case(f"swap-{name}", sentence, root, cfg=swap, ckpt=True)
    case("sizes-hdf5", sizes, tmp_path / "data" / "sizes", "-hdf5")
    case("empty", "holds no image in a class folder", data("empty", empty))
    no_valid = data("no-valid", lambda root: shutil.rmtree(root / "valid"))
    case("no-valid", "-ref valid: there is no folder", no_valid, "-ref", "valid", "-sr")
    odd = write_config(tmp_path / "odd.yaml", classes=4, DATA={"img_size": 96})
    case("img-size", "DATA.img_size: resnet makes no images of 96x96; allowed: 32, 64, 128, 256, 512", trained.new_data, cfg=odd)
    case("swap-img-size", "DATA.img_size: resnet makes no images of 96x96", trained.new_data, ckpt=True,
         cfg=trained.swap_config(tmp_path / "swap-odd.yaml", sections={"DATA": {"img_size": 96}}))  # fmt: skip
    tiny = write_config(tmp_path / "tiny.yaml", classes=4, DATA={"name": "Tiny_ImageNet"})
    case("never-resized", "DATA.name: StudioGAN leaves the images of a data set named Tiny_ImageNet", tmp_path / "data" / "sizes",
         "--pre_resizer", "lanczos", cfg=tiny)  # fmt: skip
    case("ifid", "-ifid: the class 'd' has no images in", data("ifid", lambda root: [
        path.unlink() for path in (root / "train" / "d").iterdir()]), "-ifid")  # fmt: skip
    stored = tmp_path / "data" / "stored"
    stored.mkdir()
    with h5py.File(stored / "toy_32_wo_resize_train.hdf5", "w") as file:
        file["imgs"], file["labels"] = np.zeros((4, 64, 64, 3), np.uint8), np.arange(4)
    case("hdf5-size", "holds images of 64x64x3 uint8, and DATA.img_size asks for 32x32x3 uint8", stored, "-hdf5")
    case("hdf5-metrics", "-sr: the evaluation reads image folders", stored, "-hdf5", "-sr")

    before = files(tmp_path) | files(trained.root)
    wrong = []
    for name, (code, text) in driven(trained.studiogan, {name: options for name, (options, _) in made.items()}).items():
        said = [line for line in text.splitlines() if line.startswith("rcas: error: ")]
        if code != 2 or len(said) != 1 or made[name][1] not in said[0] or "Traceback" in text:
            wrong.append(f"{name}: exit code {code}, wanted {made[name][1]!r} in\n{text[-1500:]}")
    assert not wrong, "\n\n".join(wrong)
    assert files(tmp_path) | files(trained.root) == before, "something was written"
