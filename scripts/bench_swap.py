"""The evidence: swaps by several methods from shared pre-trained GANs, judged by a classifier of the real images.

    python scripts/bench_swap.py --mnist ../shared/data/mnist.npz --cifar ../shared/data/cifar10_subset.zip

Every (method, class pair, seed) is one row in a file of its own, so an interrupted grid goes on where it was, and several
processes may work on one output folder (`--part 0/2` and `--part 1/2`).
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.files import atomic_path, write_json
from rcas_plugin.gan import Gan, gaussian_latents, sample_images
from rcas_plugin.labels import DataClasses, LabelPlan, repeat_factors, resolve_labels
from rcas_plugin.methods.base import Context
from rcas_plugin.methods.class_swap.method import ClassSwap
from rcas_plugin.metrics.classifier import Classifier, predict, train_classifier
from rcas_plugin.metrics.curves import area_under, end_level, mean_interval, steps_to_level
from rcas_plugin.metrics.distances import frechet_distance, kernel_distance
from rcas_plugin.registry import methods
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.watch.machine import describe_run
from rcas_plugin.weights.accelerate import autocast

#: A larger step of the slot's own columns: tried, and no part of any default.
LABEL_LR = {"generator": 10.0, "steps": 150}
#: What is compared: the RCAS section of each.
METHODS: dict[str, dict[str, Any]] = {
    "fine_tune": {"method": "fine_tune"},
    "class_swap": {"method": "class_swap"},
    "bn_propagation": {"method": "bn_propagation"},
    "bn_propagation, 60 updates": {"method": "bn_propagation", "label_start": {"iterations": 60}},
    "bn_propagation, label_lr": {
        "method": "bn_propagation",
        "label_start": {"iterations": 60},
        "label_lr": {"generator": 10.0, "steps": 720},
    },
    "bn_propagation, with ft": {"method": "bn_propagation", "label_start": {"iterations": 60}},
    "bn_propagation, a third bn": {"method": "bn_propagation"},
    "class_swap, no retain": {"method": "class_swap", "retain": 0.0},
    "class_swap, label_lr, no retain": {"method": "class_swap", "label_lr": LABEL_LR, "retain": 0.0},
    "fine_tune, label_lr": {"method": "fine_tune", "label_lr": LABEL_LR},
    "rcas": {"preset": "rcas", "importance": {"samples": 512}},
    "from scratch": {"method": "fine_tune"},
}
#: Stage bn has one in so many of the run's steps, where that is not the default.
BN_STEPS = {"bn_propagation, with ft": 10, "bn_propagation, a third bn": 3}
#: The grid's parts, by the name of the rows: data set, steps.
DATASETS = {"mnist": "mnist", "cifar": "cifar", "transfer": "mnist"}
STEPS = {"mnist": 720, "cifar": 480, "transfer": 720}
#: Measured at these steps as well as at every 40th: the first steps are where the methods differ.
EARLY = (10, 20)
Z_DIM, G_CONV_DIM, D_CONV_DIM = 64, 16, 32
OPTIONS = {"batch_size": 32, "g_lr": 2e-4, "d_lr": 2e-4, "beta1": 0.5, "beta2": 0.999}
PRETRAIN_STEPS = {"mnist": 2500, "cifar": 6000, "transfer": 2500}
JUDGE = (
    "a classifier trained on the real training images; distances are Fréchet distances in its features, 1,000 images of the slot"
)
JUDGE_EPOCHS = {"mnist": 4, "cifar": 20}
Pair = tuple[tuple[str, ...], tuple[str, ...]]
#: part of the grid -> (slots, their new classes) by the names of the classes; the new ones are not among the pre-trained ones.
PAIRS: dict[str, list[Pair]] = {
    "mnist": [((old,), (new,)) for old, new in ("90", "40", "70", "15", "35", "85")],
    "cifar": [((old,), ("airplane",)) for old in ("truck", "cat", "horse", "ship", "frog", "bird")],
    "transfer": [(tuple("01234"), tuple("56789"))],
}


@dataclass(frozen=True)
class Data:
    """Real images (n, channels, 32, 32) in [-1, 1] and the class (n,) of each; training and test."""

    names: tuple[str, ...]
    images: Tensor
    classes: Tensor
    test_images: Tensor
    test_classes: Tensor


def load_data(name: str, path: Path) -> Data:
    """MNIST from its npz file, resized to 32x32; the CIFAR-10 subset from its zip file."""
    if name == "mnist":
        with np.load(path, allow_pickle=False) as file:
            parts = [(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test")]
        resized = [np.stack([np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.LANCZOS)) for image in images])
                   for images, _ in parts]  # fmt: skip
        tensors = [torch.from_numpy(images)[:, None].float() / 127.5 - 1 for images in resized]
        labels = [torch.from_numpy(found).long() for _, found in parts]
        return Data(tuple("0123456789"), tensors[0], labels[0], tensors[1], labels[1])
    with zipfile.ZipFile(path) as archive:
        entries = sorted(entry for entry in archive.namelist() if entry.endswith(".jpg"))
        names = tuple(sorted({entry.split("/")[1] for entry in entries}))
        images = {"train": [], "valid": []}  # type: dict[str, list[np.ndarray]]
        classes = {"train": [], "valid": []}  # type: dict[str, list[int]]
        for entry in entries:
            part, class_name, _ = entry.split("/")
            with archive.open(entry) as file, Image.open(file) as image:
                images[part].append(np.asarray(image.convert("RGB")))
            classes[part].append(names.index(class_name))
    train, test = (torch.from_numpy(np.stack(images[part])).permute(0, 3, 1, 2).float() / 127.5 - 1 for part in images)
    return Data(names, train, torch.tensor(classes["train"]), test, torch.tensor(classes["valid"]))


def build(labels: int, seed: int = 0) -> Gan:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Gan(Generator(Z_DIM, labels, G_CONV_DIM), Discriminator(labels, D_CONV_DIM), None, gaussian_latents(Z_DIM))


def pretrained(out: Path, part: str, data: Data, new: tuple[str, ...]) -> Gan:
    """The GAN of the classes without `new`, trained now or before; labels are those classes in their order."""
    path = out / "pretrain" / f"{DATASETS[part]}-without-{'-'.join(new)}.pth"
    kept = torch.tensor([index for index, name in enumerate(data.names) if name not in new])
    gan = build(len(kept))
    if not path.is_file():
        chosen = torch.isin(data.classes, kept)
        labels = torch.searchsorted(kept, data.classes[chosen])
        options = {**OPTIONS, "d_updates_per_step": 2}
        loop = Loop(gan, data.images[chosen].expand(-1, 3, -1, -1), labels, torch.arange(len(kept)), options,
                    torch.Generator().manual_seed(0), accelerated=True)  # fmt: skip
        for step in tqdm(range(PRETRAIN_STEPS[part]), desc=f"pre-training {path.stem}", unit="step", mininterval=10):
            loop.step(step)
        with atomic_path(path) as temporary:
            torch.save({"G": gan.generator.state_dict(), "D": gan.discriminator.state_dict()}, temporary)
    state = torch.load(path, weights_only=True)
    gan.generator.load_state_dict(state["G"])
    gan.discriminator.load_state_dict(state["D"])
    return gan


@dataclass(frozen=True)
class Judge:
    """A classifier of the real images: which class an image shows, and the features that distances are taken in."""

    classifier: Classifier
    accuracy: float
    real: dict[int, Tensor]

    @classmethod
    def of(cls, out: Path, dataset: str, data: Data) -> Judge:
        """Trained now or before, on the real training images; its accuracy is on the test images."""
        path, channels = out / "judge" / f"{dataset}.pth", data.images.shape[1]
        if path.is_file():
            classifier = Classifier(channels, len(data.names))
            classifier.load_state_dict(torch.load(path, weights_only=True))
            classifier.eval()
        else:
            classifier = train_classifier(data.images, data.classes, len(data.names), epochs=JUDGE_EPOCHS[dataset])
            with atomic_path(path) as temporary:
                torch.save(classifier.state_dict(), temporary)
        accuracy = float((predict(classifier, data.test_images) == data.test_classes).float().mean())
        real = {index: features(classifier, data.images[data.classes == index][:2000]) for index in range(len(data.names))}
        return cls(classifier, accuracy, real)


@torch.no_grad()
def features(classifier: Classifier, images: Tensor) -> Tensor:
    return torch.cat([classifier.features(part) for part in images.split(500)])


@dataclass(frozen=True)
class Swap:
    """Slots and their new classes on one pre-trained GAN."""

    data: Data
    judge: Judge
    slots: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [name for name in self.data.names if name not in self.new]

    def measure(self, generator: torch.nn.Module, *, slot_images: int = 1000, images: int = 0) -> dict[str, float]:
        """Of the slots, on average: distances to the new class, and which class is seen. Of the remaining labels likewise."""
        index, slots = self.data.names.index, [self.names.index(slot) for slot in self.slots]
        rest = [label for label in range(len(self.names)) if label not in slots]
        each = slot_images // len(slots)
        labels = torch.tensor([label for label in slots for _ in range(each)] + rest * images)
        with autocast(torch.device("cpu")):
            fakes = sample_images(generator, labels, gaussian_latents(Z_DIM), seed=1, batch_size=64)
        fakes = fakes.mean(1, keepdim=True) if self.data.images.shape[1] == 1 else fakes
        found = features(self.judge.classifier, fakes)
        with torch.no_grad():
            shown = self.judge.classifier.head(found).argmax(1)
        figures: dict[str, list[float]] = {}
        for label, slot, new in zip(slots, self.slots, self.new, strict=True):
            own, real = labels == label, self.judge.real[index(new)]
            for figure, value in (
                ("distance", frechet_distance(real, found[own])),
                ("kernel_distance", kernel_distance(real, found[own])),
                ("new", float((shown[own] == index(new)).float().mean())),
                ("old", float((shown[own] == index(slot)).float().mean())),
            ):
                figures.setdefault(figure, []).append(value)
        measured = {figure: sum(values) / len(values) for figure, values in figures.items()}
        if images and rest:
            wanted, kept = torch.tensor([index(name) for name in self.names])[labels], torch.isin(labels, torch.tensor(rest))
            measured["remaining"] = float((shown == wanted)[kept].float().mean())
            measured["remaining_distance"] = frechet_distance(
                torch.cat([self.judge.real[index(self.names[label])] for label in rest]), found[kept]
            )
        return measured


def training_data(swap: Swap, plan: LabelPlan, few: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) and labels (n,) of a swap; of each new class only `few`, drawn by the seed, where that is not 0."""
    data = swap.data
    to_label = torch.full((len(data.names),), -1)
    for index, label in plan.class_to_label.items():
        to_label[index] = label
    labels = to_label[data.classes]
    if few:
        for label in plan.slots:
            own = (labels == label).nonzero().flatten()
            labels[own[torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))[few:]]] = -1
    return data.images[labels >= 0].expand(-1, 3, -1, -1), labels[labels >= 0]


def balanced(labels: Tensor, plan: LabelPlan) -> Tensor:
    """Positions (n,) of what an epoch shows, as `RCAS.balance` has it."""
    times = repeat_factors(dict(enumerate(torch.bincount(labels).tolist())), plan.slots.keys())
    return torch.arange(len(labels)).repeat_interleave(torch.tensor([times[label] for label in labels.tolist()]))


def run_row(swap: Swap, gan: Gan, section: dict[str, Any], seed: int, steps: int, every: int, few: int = 0) -> dict[str, Any]:
    """One swap: its method's `prepare`, then fine-tuning, measured as it goes."""
    data = swap.data
    wanted = {"swap": dict(zip(swap.slots, swap.new, strict=True)), "accelerate": True, "snapshot_images": 0}
    settings = parse_settings({**wanted, **section})
    counts = torch.bincount(data.classes, minlength=len(data.names)).tolist()
    if few:
        counts = [few if name in swap.new else count for name, count in zip(data.names, counts, strict=True)]
    plan = resolve_labels(settings, len(swap.names), DataClasses(data.names, tuple(counts)), swap.names)
    images, labels = training_data(swap, plan, few, seed)
    torch.manual_seed(seed)
    method = methods[settings.method](
        Context(settings, plan, seed, steps, log=lambda line: None, real_images=lambda label, n: images[labels == label][:n])
    )
    before = swap.measure(gan.generator, images=250)
    looked: list[tuple[dict[str, Any], float]] = []
    if isinstance(method, ClassSwap):
        recalibrate = method.recalibrate

        def look_first(gan: Gan) -> None:
            """The state with stale batch-norm statistics is measured, and the time of that is none of the preparation's."""
            began = time.monotonic()
            looked.append((swap.measure(gan.generator, images=250), time.monotonic() - began))
            recalibrate(gan)

        method.recalibrate = look_first  # type: ignore[method-assign]
    started = time.monotonic()
    lifecycle = Lifecycle.begin(method, gan, Checkpoint.of(gan))
    prepared = time.monotonic() - started - sum(seconds for _, seconds in looked)
    stale = looked[0][0] if looked else None
    curve = {0: swap.measure(gan.generator, images=250)}
    epoch = (images, labels)
    if few:
        shown = balanced(labels, plan)
        epoch = (images[shown], labels[shown])
    loop = Loop(gan, *epoch, torch.tensor(plan.live), OPTIONS, torch.Generator().manual_seed(seed + 1),
                lifecycle=lifecycle, accelerated=settings.accelerate)  # fmt: skip
    stepping = 0.0
    for step in range(steps):
        started = time.monotonic()
        loop.step(step)
        stepping += time.monotonic() - started
        if step + 1 in EARLY or (step + 1) % every == 0:
            curve[step + 1] = swap.measure(gan.generator, images=250 if step + 1 == steps else 0)
    return {"before": before, "stale": stale, "curve": curve, "prepare_s": prepared, "step_s": stepping / steps}


@dataclass(frozen=True)
class Row:
    """One run of the grid: which part of it, the seed, the slots and their new classes, the method, images of a new class."""

    part: str
    seed: int
    pair: Pair
    name: str
    few: int

    @property
    def method(self) -> str:
        """As tables call it."""
        return self.name if not self.few else f"{self.name}, {self.few} images"

    @property
    def section(self) -> dict[str, Any]:
        """The RCAS section that it runs with, but for the slots."""
        if self.name not in BN_STEPS:
            return METHODS[self.name]
        return {**METHODS[self.name], "stages": {"bn": STEPS[self.part] // BN_STEPS[self.name]}}

    def file(self, out: Path) -> Path:
        slots, new = ("-".join(names) for names in self.pair)
        return out / "rows" / f"{self.part}-{slots}-to-{new}-{self.method.replace(', ', '-')}-{self.seed}.json"


def rows_of(args: argparse.Namespace, part: str) -> list[Row]:
    """The seeds are outermost: an unfinished grid has every pair and method."""
    pairs = PAIRS[part][: args.pairs]
    return [
        Row(part, seed, pair, name, few)
        for seed in range(args.seeds)
        for pair in pairs
        for few in args.images
        for name in args.methods
    ]


def run_grid(args: argparse.Namespace, part: str) -> None:
    dataset = DATASETS[part]
    data = load_data(dataset, getattr(args, dataset))
    for new in dict.fromkeys(new for _, new in PAIRS[part]):
        pretrained(args.out, part, data, new)
    judge = Judge.of(args.out, dataset, data)
    write_json(args.out / "judge" / f"{dataset}.json", {"accuracy": judge.accuracy})
    own, parts = (int(number) for number in args.part.split("/"))
    wanted = [row for index, row in enumerate(rows_of(args, part)) if index % parts == own]
    for row in tqdm(wanted, desc=f"{part}: swaps", unit="swap"):
        path = row.file(args.out)
        if not path.is_file():
            gan = pretrained(args.out, part, data, row.pair[1])
            if row.name == "from scratch":
                gan = build(len(data.names) - len(row.pair[1]), seed=row.seed + 1)
            found = run_row(Swap(data, judge, *row.pair), gan, row.section, row.seed, STEPS[part], 40, row.few)
            write_json(path, {"section": row.section, "options": OPTIONS, **found})


# the table ----------------------------------------------------------------------------------------------------------------


def with_preparation(row: dict[str, Any], shift: float) -> dict[float, float]:
    """The distance over steps; what the method did before its first one counts as `shift` steps."""
    curve = {float(step): values["distance"] for step, values in row["curve"].items()}
    if shift < 0.5:
        return curve
    return {0.0: row["before"]["distance"], **{step + shift: value for step, value in curve.items()}}


def read_rows(args: argparse.Namespace, part: str, name: str, few: int) -> dict[tuple[Pair, int], dict[str, Any]]:
    """The rows that one method has, by class pair and seed."""
    rows = [Row(part, seed, pair, name, few) for seed in range(args.seeds) for pair in PAIRS[part]]
    files = {(row.pair, row.seed): row.file(args.out) for row in rows}
    return {key: json.loads(path.read_text()) for key, path in files.items() if path.is_file()}


def compare(args: argparse.Namespace, part: str) -> dict[str, Any]:
    """Of every method, over the class pairs and seeds that it and fine_tune have: mean, and ends of the 95 % interval."""
    table = {}
    for few in args.images:
        baselines = read_rows(args, part, "fine_tune", few)
        plain_step = np.median([row["step_s"] for row in baselines.values()]) if baselines else math.nan
        for name in args.methods:
            rows = {key: row for key, row in read_rows(args, part, name, few).items() if key in baselines}
            if not rows:
                continue
            # a run that had to share its machine must make neither its own steps nor its own preparation look cheap or dear;
            # preparation counts as steps of fine_tune, which are the shortest
            step = float(np.median([row["step_s"] for row in rows.values()]))
            shift = float(np.median([row["prepare_s"] for row in rows.values()])) / float(plain_step)
            figures: dict[str, list[float]] = {}
            for (pair, seed), row in rows.items():
                of_pair = [baseline for (other, _), baseline in baselines.items() if other == pair]
                for figure, value in figures_of(row, shift, baselines[pair, seed], of_pair, STEPS[part]).items():
                    figures.setdefault(figure, []).append(value)
            means = {figure: mean_interval(values) for figure, values in figures.items()}
            of_plain = step / float(plain_step)
            table[Row(part, 0, PAIRS[part][0], name, few).method] = {
                "runs": len(rows), "time of a step, of fine_tune's": (of_plain,) * 3, **means
            }  # fmt: skip
    return table


def figures_of(
    row: dict[str, Any], shift: float, plain: dict[str, Any], of_pair: list[dict[str, Any]], steps: int
) -> dict[str, float]:
    """What one run is compared by: itself, fine_tune's run of its pair and seed, and those of its pair."""
    curve, baseline = with_preparation(row, shift), with_preparation(plain, 0)
    # where fine-tuning has not converged its own end is an easy level; the best of the pair's seeds is a hard one
    own, hard = end_level(baseline), min(end_level(with_preparation(one, 0)) for one in of_pair)
    reached, hard_reached, hard_plain = (
        min(steps_to_level(one, level), float(steps)) for one, level in ((curve, own), (curve, hard), (baseline, hard))
    )
    before, first, last, plain_last = row["before"], row["curve"]["0"], row["curve"][str(steps)], plain["curve"][str(steps)]
    stale = row["stale"] or first
    found = {
        "steps to fine_tune's end level": reached,
        "level not reached": float(math.isinf(steps_to_level(curve, own))),
        "steps, of fine_tune's": reached / steps_to_level(baseline, own),
        "steps to the pair's best level": hard_reached,
        "steps to the pair's best level, of fine_tune's": hard_reached / hard_plain,
        "area, of fine_tune's": area_under(until(curve, steps)) / area_under(baseline),
        "distance at the end": end_level(curve),
        "distance at the end, of fine_tune's": end_level(curve) / own,
        "old class left at once": first["old"],
        "old class left at once, stale statistics": stale["old"],
        "new class recognised at once": first["new"],
        "new class recognised at the end": last["new"],
        "preparation, in steps": shift,
    }
    if "kernel_distance" in last:
        found["kernel distance at the end"] = last["kernel_distance"]
    if "remaining" not in last:
        return found
    return {
        **found,
        "remaining kept at once": first["remaining"] / before["remaining"],
        "remaining kept at once, stale statistics": stale["remaining"] / before["remaining"],
        "remaining distance at once": first["remaining_distance"],
        "remaining at the end": last["remaining"],
        "remaining at the end, less fine_tune's": last["remaining"] - plain_last["remaining"],
        "remaining distance at the end": last["remaining_distance"],
        "remaining distance at the end, less fine_tune's": last["remaining_distance"] - plain_last["remaining_distance"],
    }


def until(curve: dict[float, float], steps: int) -> dict[float, float]:
    """The curve up to a step, its last value interpolated there."""
    kept = {step: value for step, value in curve.items() if step < steps}
    return {**kept, float(steps): float(np.interp(steps, sorted(curve), [curve[step] for step in sorted(curve)]))}


#: The table's columns: a heading, the figure, and whether it is a percentage.
SHOWN = (
    ("old class left at once", "old class left at once", True),
    ("remaining kept at once", "remaining kept at once", True),
    ("steps to fine_tune's end level, of its own", "steps, of fine_tune's", False),
    ("to the best of its seeds, likewise", "steps to the pair's best level, of fine_tune's", False),
    ("area under the distance, of fine_tune's", "area, of fine_tune's", False),
    ("distance at the end", "distance at the end", False),
    ("of fine_tune's", "distance at the end, of fine_tune's", False),
    ("remaining recognised at the end", "remaining at the end", True),
    ("distance of the remaining", "remaining distance at the end", False),
    ("time of a step, of fine_tune's", "time of a step, of fine_tune's", False),
)


def print_table(part: str, table: dict[str, Any]) -> None:
    print(f"\n{part}: mean [95 % interval] over class pairs and seeds\n")
    print("| | runs | " + " | ".join(heading for heading, _, _ in SHOWN) + " |\n| --- |" + " --- |" * (len(SHOWN) + 1))
    for name, figures in table.items():
        cells = [_cell(figures[figure], percent) if figure in figures else "" for _, figure, percent in SHOWN]
        print(f"| {name} | {figures['runs']} | " + " | ".join(cells) + " |")


#: The steps at which `print_curves` shows the distance.
CURVE_STEPS = (0, 40, 120, 240, 360, 480, 720)


def mean_curves(args: argparse.Namespace, part: str) -> dict[str, dict[str, float]]:
    """Of every method, the mean distance over all its runs at some steps."""
    found = {}
    for few in args.images:
        for name in args.methods:
            curves = [row["curve"] for row in read_rows(args, part, name, few).values()]
            if curves:
                shown = [str(step) for step in CURVE_STEPS if all(str(step) in curve for curve in curves)]
                means = {step: float(np.mean([curve[step]["distance"] for curve in curves])) for step in shown}
                found[Row(part, 0, PAIRS[part][0], name, few).method] = means
    return found


def print_curves(part: str, curves: dict[str, dict[str, float]]) -> None:
    steps = list(next(iter(curves.values()), {}))
    print(f"\n{part}: mean distance over the steps\n\n| | " + " | ".join(steps) + " |\n| --- |" + " --- |" * len(steps))
    for name, means in curves.items():
        print(f"| {name} | " + " | ".join(f"{means[step]:.0f}" for step in steps) + " |")


def _cell(interval: tuple[float, float, float], percent: bool) -> str:
    mean, low, high = (100 * value for value in interval) if percent else interval
    if percent:
        return f"{mean:.1f} [{low:.1f}, {high:.1f}] %"
    digits = 0 if mean >= 10 else 2
    if low == mean == high:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def all_rows(args: argparse.Namespace, part: str) -> list[dict[str, Any]]:
    """Every row that there is, in short: what it was, what it cost, the distance over steps, the rest at once and at the end."""
    found = []
    for one in rows_of(args, part):
        path = one.file(args.out)
        if path.is_file():
            row = json.loads(path.read_text())
            last = row["curve"][str(STEPS[part])]
            found.append({
                "method": one.name, "images": one.few or "all", "slots": one.pair[0], "new": one.pair[1], "seed": one.seed,
                "prepare_s": round(row["prepare_s"], 2), "step_s": round(row["step_s"], 4),
                "distance": {step: round(values["distance"], 1) for step, values in row["curve"].items()},
                "at_once": _rounded(row["curve"]["0"]), "at_once_stale": _rounded(row["stale"] or row["curve"]["0"]),
                "end": _rounded(last), "before": _rounded(row["before"]),
            })  # fmt: skip
    return found


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in values.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="mnist.npz (x_train, y_train, x_test, y_test)")
    parser.add_argument("--cifar", type=Path, help="a zip file of train/CLASS/*.jpg and valid/CLASS/*.jpg, 32x32")
    parser.add_argument("--transfer", action="store_true",
                        help="the move of a GAN of MNIST's 0 to 4 to 5 to 9, in the place of the class pairs")  # fmt: skip
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), metavar="METHOD",
                        help=f"of these: {'; '.join(METHODS)}")  # fmt: skip
    parser.add_argument("--images", type=int, nargs="+", default=[0], metavar="N",
                        help="images of the new class that training sees; 0: all")  # fmt: skip
    parser.add_argument("--pairs", type=int, default=None, metavar="N", help="only the first N class pairs")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each pair and method")
    parser.add_argument("--part", default="0/1", help="rows that this process runs, as K/N: every N-th from the K-th")
    parser.add_argument("--table", action="store_true", help="only print the table of the rows that there are")
    parser.add_argument(
        "--json", default="bench_swap.json", metavar="NAME", help="name of the results' file in the output folder"
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bench_swap")
    args = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    if args.transfer and args.mnist is None:
        parser.error("--transfer is MNIST's; give --mnist")
    for part in ("transfer",) if args.transfer else ("mnist", "cifar"):
        if getattr(args, DATASETS[part]) is None:
            continue
        if not args.table:
            run_grid(args, part)
        table = compare(args, part)
        print_table(part, table)
        curves = mean_curves(args, part)
        print_curves(part, curves)
        judged = json.loads((args.out / "judge" / f"{DATASETS[part]}.json").read_text())
        sections = {name: Row(part, 0, PAIRS[part][0], name, 0).section for name in METHODS}
        results[part] = {
            "steps": STEPS[part], "judge": judged, "sections": sections, "table": table, "curves": curves,
            "rows": all_rows(args, part),
        }  # fmt: skip
    what = {"judge": JUDGE, "options": OPTIONS}
    write_json(args.out / args.json, {**describe_run(), **what, **results})


if __name__ == "__main__":
    main()
