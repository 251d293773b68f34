"""Five swaps in a row by each method: new, old and remaining classes after one swap and after five, and what it takes.

    python scripts/bench_sequence.py --mnist ../shared/data/mnist.npz --cifar ../shared/data/cifar10_subset.zip \\
        --tiles ../shared/data/magnetic_tiles.zip

A GAN of half of the classes is pre-trained at 16x16 on the embedded networks; then the others come in, one slot twice, each swap
from the best state of the run before, on the remaining labels' own images, on replayed ones, or on none. One classifier of the
real images judges every label of the best state after each swap. Each (method, data, seed) is a file of its own, and each swap a
folder: an interrupted grid goes on where it was, and several processes may work on one output folder (`--part 0/2`, then `1/2`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from swap_grid.data import Data, add_data_sets, load_data
from swap_grid.judge import Judge, features
from swap_grid.runs import METHODS as GRID
from swap_grid.sequence import less_than_real, print_tables, table_of
from swap_grid.trials import drawn_once
from tqdm.auto import tqdm

from rcas_plugin.embedded.loop import train
from rcas_plugin.files import temporary_folder, write_json
from rcas_plugin.gan import sample_images
from rcas_plugin.metrics.distances import frechet_distance
from rcas_plugin.record import read_record
from rcas_plugin.registry import methods
from rcas_plugin.sampling.run import open_run
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.watch.machine import describe_run

SIZE = 16
#: Real images of a class that a swap is trained on, at the most; generated images of a label that are judged.
A_CLASS, JUDGED = 300, 200
#: The grid's sections, with fewer samples for the importance of weights: these networks are narrow.
METHODS: dict[str, dict[str, Any]] = {
    **{name: GRID[name] for name in ("fine_tune", "class_swap", "bn_propagation", "gan_memory", "piggyback", "feature_replay")},
    "rcas": {**GRID["rcas"], "importance": {"samples": 256}},
}
CONFIG: dict[str, Any] = {
    "MODEL": {"backbone": "resnet", "g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_d_sn": True, "z_dim": 64,
              "g_conv_dim": 8, "d_conv_dim": 16},
    "OPTIMIZATION": {"batch_size": 32, "g_lr": 4e-4, "d_lr": 4e-4, "beta1": 0.5, "beta2": 0.999},
}  # fmt: skip


@dataclass(frozen=True)
class SwapSequence:
    """Swaps in a row on one data set.

    Attributes:
        pretrained: classes of the GAN that is pre-trained, by their index in the data set.
        swaps: the class of the slot, and the new class, likewise.
        steps: of each swap.
        pretrain_steps: of the GAN.
        judge_epochs: of the classifier.
    """

    pretrained: tuple[int, ...]
    swaps: tuple[tuple[int, int], ...]
    steps: int = 240
    pretrain_steps: int = 1500
    judge_epochs: int = 2


TEN = (0, 1, 2, 3, 4), ((4, 5), (5, 6), (0, 7), (1, 8), (2, 9))
SEQUENCES = {
    "mnist": SwapSequence(*TEN),
    "cifar": SwapSequence(*TEN, judge_epochs=12),
    # of six classes only three are new: two that were given up come back
    "tiles": SwapSequence((0, 1, 2), ((2, 3), (3, 4), (0, 5), (4, 2), (5, 0)), judge_epochs=40),
}


@dataclass(frozen=True)
class Row:
    """One run of the grid."""

    part: str
    method: str
    data: str
    seed: int

    def folder(self, out: Path) -> Path:
        return out / "sequences" / self.part / f"{self.method}-{self.data}-{self.seed}"

    @property
    def section(self) -> dict[str, Any]:
        """The RCAS section that it runs with, but for the slots."""
        data = {} if self.data == "own" else {"remaining_data": "replay" if self.data == "memory" else self.data}
        return {**METHODS[self.method], **data, "swap_metrics": 60, "snapshot_images": 0, "accelerate": True}


def rows_of(part: str, names: Sequence[str], data: Sequence[str], seeds: int) -> list[Row]:
    """Seeds outermost: an unfinished grid has every method. A method that shows new classes alone has one row, `own`."""
    rows = []
    for seed in range(seeds):
        for name in names:
            method = methods[parse_settings({**METHODS[name], "swap": {0: 0}}).method]
            rows += [Row(part, name, which, seed) for which in (["own"] if method.draws == "new" else data)
                     if name != "feature_replay" or which != "none"]  # fmt: skip
    return rows


def write_images(root: Path, data: Data) -> Path:
    """Write `A_CLASS` images of each class as train/<class>/*.png; whole or not at all."""
    if not (root / "train").is_dir():
        root.mkdir(parents=True, exist_ok=True)
        with temporary_folder(root) as partial:
            for index, name in enumerate(data.names):
                (partial / "train" / name).mkdir(parents=True)
                images = data.images[data.classes == index][:A_CLASS]
                levels = ((images.expand(-1, 3, -1, -1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
                for place, pixels in enumerate(levels):
                    Image.fromarray(np.asarray(pixels)).save(partial / "train" / name / f"{place:05d}.png")
            if not (root / "train").is_dir():  # another process may have been quicker
                (partial / "train").rename(root / "train")
    return root


def write_config(path: Path, part: str, steps: int, labels: int, **sections: Any) -> Path:
    options = {**CONFIG["OPTIMIZATION"], "total_steps": steps}
    data = {"name": part, "img_size": SIZE, "num_classes": labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"DATA": data, **CONFIG, "OPTIMIZATION": options, **sections}, sort_keys=False))
    return path


def pretrain(out: Path, part: str, data: Data, images: Path) -> Path:
    """The checkpoint folder of the pre-trained GAN, trained now or before."""
    plan, home = SEQUENCES[part], out / "sequences" / part
    done = home / "pretrained.json"
    if not done.is_file():
        config = write_config(home / "pretrain.yaml", part, plan.pretrain_steps, len(plan.pretrained))
        with temporary_folder(home) as view:
            for index in plan.pretrained:
                target = view / "train" / data.names[index]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to((images / "train" / data.names[index]).resolve(), target_is_directory=True)
            folder = train(config, view, home / "pretrained", save_freq=plan.pretrain_steps)
        write_json(done, {"folder": str(folder.relative_to(home))})
    return home / str(json.loads(done.read_text())["folder"])


@torch.no_grad()
def judged(folder: Path, data: Data, judge: Judge) -> dict[str, dict[str, Any]]:
    """Class -> the share of its label's images that are recognised, that called each class, and their distance from real ones."""
    run = open_run(folder)
    figures = {}
    for label, name in enumerate(run.labels):
        assert name is not None
        images = sample_images(run.gan.evaluated, torch.full((JUDGED,), label), run.gan.latents, seed=1)
        images = images.mean(1, keepdim=True) if data.images.shape[1] == 1 else images
        seen, index = features(judge.classifier, images), data.names.index(name)
        shown = judge.classifier.head(seen).argmax(1)
        shares = {other: float((shown == place).float().mean()) for place, other in enumerate(data.names)}
        figures[name] = {"recognised": shares[name], "distance": frechet_distance(judge.real[index], seen), "as": shares}
    return figures


def run_row(row: Row, out: Path, data: Data, images: Path, start: Path, judge: Judge, most: int | None = None) -> dict[str, Any]:
    """All swaps of the sequence, or its first `most`; what is there already is not done again."""
    home, plan = row.folder(out), SEQUENCES[row.part]
    path = home / "row.json"
    result: dict[str, Any] = (
        json.loads(path.read_text()) if path.is_file() else {"start": judged(start, data, judge), "swaps": []}
    )
    for place, (slot, new) in enumerate(plan.swaps[:most]):
        if place < len(result["swaps"]):
            continue
        before = home / result["swaps"][-1]["run"] if place else start
        shutil.rmtree(home / str(place), ignore_errors=True)
        section = {**row.section, "swap": {data.names[slot]: data.names[new]}}
        config = write_config(home / str(place) / "swap.yaml", row.part, plan.steps, len(plan.pretrained), RCAS=section)
        started = time.process_time()
        with drawn_once(A_CLASS) if row.data == "memory" else nullcontext():
            folder = train(config, images, home / str(place), before, seed=row.seed, best=True, save_freq=plan.steps // 3,
                           progress=False)  # fmt: skip
        seconds = time.process_time() - started
        record = read_record(folder)
        result["swaps"].append({
            "slot": data.names[slot], "new": data.names[new], "run": str(folder.relative_to(home)), "seconds": seconds,
            "kept": record.best.step if record.best is not None else plan.steps,
            "parameters": record.parameters.get("generator", 0), "classes": judged(folder, data, judge),
        })  # fmt: skip
        write_json(path, result)
    return result


def rows_so_far(rows: Sequence[Row], out: Path) -> dict[tuple[str, str], dict[int, dict[str, Any]]]:
    """(method, data) -> seed -> row, of those that have been begun."""
    begun: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        if (path := row.folder(out) / "row.json").is_file():
            begun.setdefault((row.method, row.data), {})[row.seed] = json.loads(path.read_text())
    return begun


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_sets(parser)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD",
                        help=f"of these: {'; '.join(METHODS)}")  # fmt: skip
    parser.add_argument("--data", nargs="+", choices=("real", "replay", "memory", "none"), default=["real", "replay", "none"],
                        help="what training shows of the remaining labels (default: real replay none); memory: replayed images "
                        f"that are drawn once, {A_CLASS} of each")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="of each method")
    parser.add_argument("--swaps", type=int, default=5, help="of each row; the others may follow later (default: %(default)s)")
    parser.add_argument("--part", default="0/1", help="rows that this process runs, as K/N: every N-th from the K-th")
    parser.add_argument("--table", action="store_true", help="only print the table of the rows that there are")
    parser.add_argument("--json", default="bench_sequence.json", metavar="NAME", help="results' file in the output folder")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bench_sequence")
    args = parser.parse_args(arguments)
    parts = [part for part in SEQUENCES if getattr(args, part)]
    if not parts:
        parser.error("no data set is named; give --mnist, --cifar or --tiles")
    results: dict[str, Any] = {}
    share, shares = (int(number) for number in args.part.split("/"))
    for part in parts:
        data = load_data(part, getattr(args, part), SIZE)
        rows = rows_of(part, args.methods, args.data, args.seeds)
        if not args.table:
            images = write_images(args.out / "data" / part, data)
            start = pretrain(args.out, part, data, images)
            judge = Judge.of(args.out, "first", part, data, SEQUENCES[part].judge_epochs)
            for row in tqdm(rows[share::shares], desc=f"{part}: sequences", unit="run"):
                run_row(row, args.out, data, images, start, judge, args.swaps)
        swaps, pretrained = len(SEQUENCES[part].swaps), [data.names[index] for index in SEQUENCES[part].pretrained]
        begun = rows_so_far(rows, args.out)
        table = table_of({", ".join(key): list(runs.values()) for key, runs in begun.items()}, pretrained, swaps)
        differences = less_than_real(begun, pretrained, swaps)
        print_tables(part, table, differences)
        results[part] = {"pretrained": pretrained, "table": table, "less than on real images": differences, "rows": {
            f"{method}, {shown}, {seed}": row for (method, shown), runs in begun.items() for seed, row in runs.items()
        }}  # fmt: skip
    write_json(args.out / args.json, {**describe_run(), "config": CONFIG, "sections": METHODS, **results})


if __name__ == "__main__":
    main()
