"""Five swaps in a row on MNIST, each by `rcas swap` from the run before: what the classes of earlier swaps are at the end.

    python scripts/five_swaps.py --mnist ../shared/data/mnist.npz

Digits 0 to 4 are pre-trained by StudioGAN's main.py at the quickstart's size; then 5 to 9 come in, one slot twice. For the last
three swaps the digits that are given up by then have no images any more. One classifier, trained on MNIST's own training images,
judges each new class when its swap has ended, at the end of the last one, and brought back from the last run's folder alone.

An interrupted run goes on: `rcas swap` goes on with its own, and says where one is done. Figures go to
docs/results/five_swaps.json.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from rcas_plugin import cli
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.checkpoints.lineage import read_lineage
from rcas_plugin.errors import RcasError
from rcas_plugin.files import temporary_folder, write_json
from rcas_plugin.gan import Gan, sample_images
from rcas_plugin.metrics.classifier import ImageClassifier, predict, train_classifier
from rcas_plugin.metrics.distances import frechet_distance
from rcas_plugin.metrics.sequence import SequenceFigures, sequence_figures
from rcas_plugin.record import read_record
from rcas_plugin.report.page import PAGE, REPORT
from rcas_plugin.studiogan.locate import REPOSITORY, find_studiogan, main_command
from rcas_plugin.studiogan.networks import load_gan
from rcas_plugin.studiogan.swap_command import plan_swap
from rcas_plugin.watch.machine import describe_run

RESULTS = REPOSITORY / "docs" / "results" / "five_swaps.json"
#: Digits that are pre-trained, and then slot (by the class that it shows) and new class of each swap.
PRETRAINED = "01234"
SWAPS = (("4", "5"), ("5", "6"), ("0", "7"), ("1", "8"), ("2", "9"))
#: From which swap on, counted from 0, the data set holds no images of these digits, which are given up by then.
WITHOUT, GIVEN_UP = 2, "45"
#: Real images a digit that are trained on, and those that the classifier is trained on and tested with.
A_DIGIT, JUDGE, TEST = 500, 20_000, 5_000

#: (label, images) -> figures of the images that a generator makes for a label, against a class.
Judge = Callable[[str, Tensor], dict[str, float]]


@dataclass(frozen=True)
class Digits:
    """MNIST, or as much of it as is wanted: images (n, 28, 28) of type uint8, and labels (n,)."""

    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def read(cls, path: Path, part: str, count: int) -> Digits:
        """`count` images of the part `train` or `test`, at random: the file may hold digit after digit."""
        with np.load(path, allow_pickle=False) as data:
            labels = data[f"y_{part}"]
            chosen = np.random.default_rng(0).permutation(len(labels))[:count]
            return cls(data[f"x_{part}"][chosen], labels[chosen])

    def tensor(self) -> Tensor:
        """Images as large as the GAN's, (n, 1, 32, 32), in [-1, 1], resized as StudioGAN does."""
        resized = [np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.LANCZOS)) for image in self.images]
        return torch.from_numpy(np.stack(resized))[:, None].float() / 127.5 - 1

    def write(self, root: Path, classes: str) -> Path:
        """Write `A_DIGIT` images of each of some digits as train/<digit>/*.png; whole or not at all."""
        if not (root / "train").is_dir():
            root.mkdir(parents=True, exist_ok=True)
            with temporary_folder(root) as partial:
                for digit in classes:
                    (partial / "train" / digit).mkdir(parents=True)
                    for index in np.flatnonzero(self.labels == int(digit))[:A_DIGIT]:
                        Image.fromarray(self.images[index]).save(partial / "train" / digit / f"{index:05d}.png")
                (partial / "train").rename(root / "train")
        return root


def write_config(path: Path) -> Path:
    """The quickstart's pre-training, for these digits."""
    content = yaml.safe_load((REPOSITORY / "configs" / "digits" / "pretrain.yaml").read_text(encoding="utf-8"))
    content["DATA"] |= {"name": "MNIST", "num_classes": len(PRETRAINED)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def pretrain(studiogan: Path, config: Path, data: Path, out: Path) -> Path:
    """The checkpoint folder of the pre-training in `out`, which is run, gone on with, or done already."""
    total = yaml.safe_load(config.read_text(encoding="utf-8"))["OPTIMIZATION"]["total_steps"]
    options = ["-t", "-cfg", str(config), "-data", str(data), "-save", str(out), "-hdf5", "-l", "--pre_resizer", "lanczos",
               "-metrics", "none", "--num_workers", "0", "--seed", "0", "--print_freq", "100", "--save_freq", "300"]  # fmt: skip
    started = _pretrained(out)
    if started is not None and read_checkpoint(checkpoint_files(started)["D"])["step"] >= total:
        return started
    subprocess.run(main_command(studiogan, *options, *(["-ckpt", str(started)] if started else [])), check=True)
    done = _pretrained(out)
    assert done is not None
    return done


def _pretrained(out: Path) -> Path | None:
    folders = [path.parent for path in (out / "checkpoints").glob("*/model=D-current-*.pth")]
    return next((folder for folder in folders if read_record(folder).swap is None), None)


def swap_in_a_row(
    studiogan: Path,
    pretrained: Path,
    data: Sequence[Path],
    swaps: Sequence[tuple[str, str]],
    out: Path,
    *,
    method: str = "class_swap",
    steps: int | None = None,
) -> list[Path]:
    """Run `rcas swap` again and again, each from the run before; their checkpoint folders.

    Args:
        studiogan: its root folder.
        pretrained: the checkpoint folder that the first one starts from.
        data: the data set of each swap.
        swaps: slot, by the class that it shows, and new class of each.
        out: where the runs go.
        method: of `rcas swap`.
        steps: likewise; as many as it chooses by default.
    """
    runs = [pretrained]
    for (slot, new), folder in zip(swaps, data, strict=True):
        command = ["swap", "--ckpt", str(runs[-1]), "--data", str(folder), "--slot", slot, "--new", new, "-o", str(out),
                   "--method", method, "--studiogan", str(studiogan)]  # fmt: skip
        command += [] if steps is None else ["--steps", str(steps)]
        print(f"$ rcas {' '.join(command)}", flush=True)
        if code := cli.main(command):
            raise RcasError(f"rcas swap ended with exit code {code}")
        run = plan_swap(studiogan, runs[-1], folder, slot, new, out, method=method, steps=steps).run
        assert run is not None
        runs.append(run)
    return runs[1:]


def look_back(runs: Sequence[Path], load: Callable[[Path], Gan], judge: Judge, images: int) -> list[dict[str, Any]]:
    """A row for each swap: its new class as the swap left it, as the last run shows it, and brought back.

    Args:
        runs: of the swaps, in order.
        load: checkpoint folder -> its GAN.
        judge: gives the figures.
        images: generated images that are judged of each class.
    """
    last, record, lineage = load(runs[-1]), read_record(runs[-1]), read_lineage(runs[-1])

    def shown(gan: Gan, label: int) -> Tensor:
        return sample_images(gan.evaluated, torch.full((images,), label), gan.latents, seed=1)

    now = {name: judge(name, shown(last, label)) for label, name in enumerate(record.labels)}
    rows = []
    for index, swap in enumerate(lineage.swaps):
        (label, slot), *_ = swap.slots.items()
        then = shown(load(runs[index]), label)
        later = [other.slots[label].new for other in lineage.swaps[index + 1 :] if label in other.slots]
        row = {"swap": index + 1, "label": label, "old": slot.old, "new": slot.new, "run": runs[index].name,
               "then": judge(slot.new, then), "now": now.get(slot.new), "replaced_by": later[0] if later else None}  # fmt: skip
        if index < len(lineage.tasks):
            restored = load(runs[-1])
            restored.evaluated.load_state_dict(dict(lineage.states[index + 1]))
            row["brought_back_to_the_bit"] = torch.equal(shown(restored, label), then)
        rows.append(row)
    return rows


def recognised_over_the_sequence(
    pretrained: Path, runs: Sequence[Path], load: Callable[[Path], Gan], judge: Judge, images: int
) -> list[dict[str, float]]:
    """R[i][j]: the part of the images of class j's label that show it after swap i; 0 is the pre-trained GAN."""
    states = [(pretrained, read_record(runs[0]).labels_before), *((run, read_record(run).labels) for run in runs)]
    matrix = []
    for folder, names in states:
        gan = load(folder)
        shown = (sample_images(gan.evaluated, torch.full((images,), label), gan.latents, seed=1) for label in range(len(names)))
        matrix.append({name: judge(name, made)["recognised"] for name, made in zip(names, shown, strict=True)})
    return matrix


def forgetting_of(matrix: Sequence[Mapping[str, float]]) -> SequenceFigures:
    """Forgetting over the sequence: a class is learned where it is there first, and replaced where it is gone at the end."""
    learned: dict[str, int] = {}
    for moment, values in enumerate(matrix):
        for name in values:
            learned.setdefault(name, moment)
    return sequence_figures(matrix, learned, [name for name in learned if name not in matrix[-1]])


def print_forgetting(figures: SequenceFigures) -> None:
    by_class = ", ".join(f"{name}: {100 * value:.1f}" for name, value in figures.forgetting.items())
    average, forgetting, transfer = (100 * (value or 0) for value in (
        figures.average, figures.mean_forgetting, figures.backward_transfer))  # fmt: skip
    print(f"\nAverage accuracy at the end {average:.1f} %; forgetting {forgetting:.1f} points ({by_class}), backward transfer "
          f"{transfer:.1f}; replaced on purpose and left out: {', '.join(figures.left_out)}")  # fmt: skip


def mnist_judge(mnist: Path) -> tuple[Judge, float]:
    """A judge by a classifier of real digits, and the classifier's accuracy on MNIST's test images."""
    train, test = Digits.read(mnist, "train", JUDGE), Digits.read(mnist, "test", TEST)
    real, labels = train.tensor(), torch.from_numpy(train.labels).long()
    model = train_classifier(real, labels, 10)
    accuracy = float((predict(model, test.tensor()) == torch.from_numpy(test.labels).long()).float().mean())
    features = {str(digit): _features(model, real[labels == digit]) for digit in range(10)}

    def judge(name: str, images: Tensor) -> dict[str, float]:
        gray = images.mean(1, keepdim=True)
        recognised = float((predict(model, gray) == int(name)).float().mean())
        return {"recognised": round(recognised, 4),
                "frechet_distance": round(frechet_distance(features[name], _features(model, gray)), 2)}  # fmt: skip

    return judge, accuracy


@torch.no_grad()
def _features(model: ImageClassifier, images: Tensor) -> Tensor:
    return torch.cat([model.features(part) for part in images.split(512)])


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    print("\n| swap | label | class | recognised then | distance then | recognised now | distance now | brought back |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        then, now = row["then"], row["now"]
        there = ("| replaced by " + str(row["replaced_by"]) + " | ") if now is None else f"| {_shown(now)} "
        back = {True: "to the bit", False: "not equal", None: "its checkpoint"}[row.get("brought_back_to_the_bit")]
        print(f"| {row['swap']} | {row['label']} | {row['old']} → {row['new']} | {_shown(then)} {there}| {back} |")


def _shown(figures: Mapping[str, float]) -> str:
    return f"{figures['recognised']:.1%} | {figures['frechet_distance']:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="mnist.npz (x_train, y_train, x_test, y_test)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "five_swaps")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON file of figures")
    parser.add_argument("--studiogan", type=Path, default=None, help="a StudioGAN; the submodule by default")
    parser.add_argument("--images", type=int, default=1000, help="generated images of each class that are judged")
    args = parser.parse_args()
    started = time.perf_counter()
    studiogan, out = find_studiogan(args.studiogan), args.out
    digits = Digits.read(args.mnist, "train", JUDGE)
    every = "0123456789"
    old, new, kept = (digits.write(out / "data" / name, classes) for name, classes in (
        ("old", PRETRAINED), ("new", every), ("kept", "".join(sorted(set(every) - set(GIVEN_UP))))))  # fmt: skip
    config = write_config(out / "pretrain.yaml")
    pretrained = pretrain(studiogan, config, old, out)
    data = [new if index < WITHOUT else kept for index in range(len(SWAPS))]
    runs = swap_in_a_row(studiogan, pretrained, data, SWAPS, out)
    trained = round(time.perf_counter() - started, 1)
    judge, accuracy = mnist_judge(args.mnist)

    def load(folder: Path) -> Gan:
        return load_gan(studiogan, config, folder, best=folder != pretrained)

    rows = look_back(runs, load, judge, args.images)
    print_rows(rows)
    matrix = recognised_over_the_sequence(pretrained, runs, load, judge, args.images)
    figures = forgetting_of(matrix)
    print_forgetting(figures)
    page = runs[-1] / REPORT / PAGE
    print(f"\nThe report with the lineage: {page}")
    write_json(args.results, {
        **describe_run(), "classifier_accuracy": round(accuracy, 4), "images_a_class": args.images, "seconds": trained,
        "pretrained": list(PRETRAINED), "labels": list(read_record(runs[-1]).labels), "swaps": rows,
        "recognised": matrix, "average_accuracy": figures.average, "forgetting": dict(figures.forgetting),
        "mean_forgetting": figures.mean_forgetting, "backward_transfer": figures.backward_transfer,
        "replaced_on_purpose": list(figures.left_out)})  # fmt: skip


if __name__ == "__main__":
    main()
