"""Print what a task of gan_memory costs in quality when it takes fewer numbers: a row for each part of its styles that is kept.

    python scripts/memory_curve.py -ckpt RUN [--data DATA]

RUN is a swap's folder, and is only read. Each row is `rcas memory compress --energy PART`: the numbers and bytes of the run's own
task, how far its new classes' images move (mean absolute difference, of 255) and, with --data, their distance to the real ones
in the features of a classifier of the data set, and the part of them that it recognises.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from tqdm.auto import tqdm

from rcas_plugin.embedded.data import read_images
from rcas_plugin.gan import sample_images
from rcas_plugin.memory.compress import compress_run
from rcas_plugin.memory.tasks import list_tasks
from rcas_plugin.memory.use import image_change
from rcas_plugin.metrics.classifier import predict, train_classifier
from rcas_plugin.metrics.distances import frechet_distance
from rcas_plugin.metrics.domain import features_of
from rcas_plugin.sampling.run import OpenRun, open_run

#: The parts of the styles that are kept, a row each.
PARTS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
HEAD = ("kept", "styles in factors", "their numbers", "of the whole styles", "task, bytes", "images move by, of 255")
JUDGED = ("Fréchet distance", "recognised")
#: The judged figures of a run's new classes.
Judge = Callable[[OpenRun], tuple[float, float]]


def judge_of(data: Path, size: int, images: int) -> Judge:
    """A judge by a classifier of the real images in data/train/CLASS/: distance and recognised part, means over new classes."""
    real, targets, classes = read_images(data / "train", size)
    model = train_classifier(real, targets, len(classes.names), epochs=8)

    def judge(opened: OpenRun) -> tuple[float, float]:
        distances, parts = [], []
        for slot in opened.slots:
            index = classes.names.index(str(opened.labels[slot]))
            made = sample_images(opened.gan.evaluated, torch.full((images,), slot), opened.gan.latents, seed=1)
            distances.append(frechet_distance(features_of(model, real[targets == index]), features_of(model, made)))
            parts.append(float((predict(model, made) == index).float().mean()))
        return sum(distances) / len(distances), sum(parts) / len(parts)

    return judge


def curve(
    folder: Path, parts: Sequence[float], images: int, judge: Judge | None = None, cfg: Path | None = None
) -> Iterator[list[str]]:
    """Rows of `HEAD`, and of `JUDGED` where there is a judge: the run as it is, and one a part that is kept."""
    whole = open_run(folder, step="newest", cfg=cfg)
    size = list_tasks(folder).tasks[-1].bytes
    yield ["as it is", "0", "", "100.0%", f"{size:,}", "0.00", *_judged(judge, whole)]
    for part in tqdm(sorted(parts, reverse=True), desc="compressing", unit="run", disable=None):
        with tempfile.TemporaryDirectory(prefix="memory-curve-") as root:
            made = compress_run(folder, Path(root) / "run", part)
            opened = open_run(Path(root) / "run", step="newest", cfg=cfg)
            moved, size = image_change(whole, opened, images=images), list_tasks(Path(root) / "run").tasks[-1].bytes
            yield [f"{part:g}", f"{made.in_factors} of {made.layers}", f"{made.after:,}", f"{made.after / made.before:.1%}",
                   f"{size:,}", f"{moved:.2f}", *_judged(judge, opened)]  # fmt: skip


def _judged(judge: Judge | None, opened: OpenRun) -> list[str]:
    if judge is None:
        return []
    distance, part = judge(opened)
    return [f"{distance:.1f}", f"{part:.1%}"]


def main() -> None:
    """Print the curve as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-ckpt", type=Path, required=True, metavar="RUN", help="a swap by gan_memory; it is only read")
    parser.add_argument(
        "-cfg", type=Path, default=None, metavar="FILE", help="the config that trained it, where none is recorded"
    )
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="its data set: train/<class>/")
    parser.add_argument("--images", type=int, default=500, help="generated images of each new class (default: 500)")
    parser.add_argument("--energy", type=float, nargs="+", default=PARTS, metavar="PART", help="the parts that are kept")
    args = parser.parse_args()
    judge = None
    if args.data is not None:
        judge = judge_of(args.data, open_run(args.ckpt, step="newest", cfg=args.cfg).size, args.images)
    head = [*HEAD, *(JUDGED if judge is not None else ())]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    for row in curve(args.ckpt, args.energy, args.images, judge, args.cfg):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
