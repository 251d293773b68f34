"""The evidence: which strategy of class-incremental learning ends where between its bounds, on three small data sets.

    python scripts/bench_classify.py --mnist ../shared/data/mnist.npz --cifar ../shared/data/cifar10_subset.zip \\
        --tiles ../shared/data/magnetic_tiles.zip

It runs the plans mnist_5x2, cifar10_5_1 and tiles_3_1 of configs/classify by `rcas classify`. Every stage has a folder of its
own, so an interrupted grid goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from rcas_plugin import cli
from rcas_plugin.files import temporary_folder, write_json
from rcas_plugin.lifelong.strategies import DEFAULT, STRATEGIES
from rcas_plugin.report.classify import RESULTS
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.watch.machine import describe_run

#: data set -> its plan.
PLANS = {"mnist": "mnist_5x2", "cifar": "cifar10_5_1", "tiles": "tiles_3_1"}
#: Images of a digit that are unpacked: of training, and of the test.
DIGITS = {"train": 1000, "test": 200}


def unpacked(path: Path, cache: Path, name: str) -> Path:
    """The class folders of a data set's file, unpacked into `cache` now or before."""
    root = cache / name
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with temporary_folder(cache) as partial:
            (unpack_mnist if path.suffix == ".npz" else unpack_folders)(path, partial / name)
            (partial / name).rename(root)
    return root


def unpack_mnist(path: Path, root: Path) -> None:
    """Write the first digits of each class as PNG files."""
    with np.load(path, allow_pickle=False) as file:
        for part, folder in (("train", "train"), ("test", "valid")):
            images, labels = file[f"x_{part}"], file[f"y_{part}"]
            for digit in tqdm(range(10), desc=f"unpacking {path.name}", delay=2):
                (root / folder / str(digit)).mkdir(parents=True)
                for index in np.flatnonzero(labels == digit)[: DIGITS[part]]:
                    Image.fromarray(images[index]).save(root / folder / str(digit) / f"{index:05d}.png")


def unpack_folders(path: Path, root: Path) -> None:
    """Extract a zip file of train/CLASS/* and valid/CLASS/*."""
    with zipfile.ZipFile(path) as archive:
        for entry in tqdm(archive.namelist(), desc=f"unpacking {path.name}", delay=2):
            archive.extract(entry, root)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plans whose data are given; the exit code, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="mnist.npz (x_train, y_train, x_test, y_test)")
    parser.add_argument("--cifar", type=Path, help="a zip file of train/CLASS/*.jpg and valid/CLASS/*.jpg, 32x32")
    parser.add_argument("--tiles", type=Path, help="a zip file of train/CLASS/*.png and valid/CLASS/*.png, gray")
    parser.add_argument("--strategies", nargs="+", choices=list(STRATEGIES), default=list(DEFAULT), metavar="NAME",
                        help=f"of these: {', '.join(STRATEGIES)}")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="of each plan")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bench_classify")
    args = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    for name, plan in PLANS.items():
        if getattr(args, name) is None:
            continue
        data = unpacked(getattr(args, name), args.out / "data", name)
        command = ["classify", str(REPOSITORY / "configs" / "classify" / f"{plan}.yaml"), "-o", str(args.out / plan),
                   "--data", str(data), "--seeds", str(args.seeds), "--strategies", *args.strategies]  # fmt: skip
        if (code := cli.main(command)) != 0:
            return code
        results[plan] = json.loads((args.out / plan / RESULTS).read_text(encoding="utf-8"))
    if not results:
        parser.error("no data set is given; give --mnist, --cifar or --tiles")
    write_json(args.out / "bench_classify.json", {**describe_run(), "plans": results})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
