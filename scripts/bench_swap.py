"""The evidence: swaps by several methods from shared pre-trained GANs, judged by a classifier of the real images.

    python scripts/bench_swap.py --mnist ../shared/data/mnist.npz --cifar ../shared/data/cifar10_subset.zip

Every (method, class pair, seed) is one row in a file of its own, so an interrupted grid goes on where it was, and several processes
may work on one output folder (`--part 0/2` and `--part 1/2`).
"""

from __future__ import annotations

import argparse
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

from rcas_plugin.accelerate import autocast
from rcas_plugin.embedded.loop import Loop
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import Gan, gaussian_latents, sample_images
from rcas_plugin.labels import DataClasses, resolve_labels
from rcas_plugin.methods.base import Context
from rcas_plugin.metrics.classifier import Classifier, predict, train_classifier
from rcas_plugin.metrics.distances import frechet_distance
from rcas_plugin.registry import phases
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.locate import REPOSITORY

Z_DIM, G_CONV_DIM, D_CONV_DIM = 64, 16, 32
OPTIONS = {"batch_size": 32, "d_updates_per_step": 2, "g_lr": 2e-4, "d_lr": 2e-4, "beta1": 0.5, "beta2": 0.999}
PRETRAIN_STEPS = {"mnist": 2500, "cifar": 6000}
JUDGE_EPOCHS = {"mnist": 4, "cifar": 20}
#: data set -> (slot, new class) by the names of the classes; the new class is not among the pre-trained ones.
PAIRS = {
    "mnist": [("9", "0"), ("4", "0"), ("7", "0"), ("1", "5"), ("3", "5"), ("8", "5")],
    "cifar": [(old, "airplane") for old in ("truck", "cat", "horse", "ship", "frog", "bird")],
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
        with np.load(path) as file:
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


def build(seed: int = 0) -> Gan:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Gan(Generator(Z_DIM, 9, G_CONV_DIM), Discriminator(9, D_CONV_DIM), None, gaussian_latents(Z_DIM))


def pretrained(out: Path, dataset: str, data: Data, new: str) -> Gan:
    """The GAN of the nine classes without `new`, trained now or before; labels are those classes in their order."""
    path = out / "pretrain" / f"{dataset}-without-{new}.pth"
    gan = build()
    if not path.is_file():
        kept = torch.tensor([index for index, name in enumerate(data.names) if name != new])
        chosen = torch.isin(data.classes, kept)
        labels = torch.searchsorted(kept, data.classes[chosen])
        loop = Loop(gan, data.images[chosen].expand(-1, 3, -1, -1), labels, torch.arange(9), OPTIONS,
                    torch.Generator().manual_seed(0), accelerated=True)  # fmt: skip
        for step in tqdm(range(PRETRAIN_STEPS[dataset]), desc=f"pre-training {path.stem}", unit="step", mininterval=10):
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
    """One class pair on one pre-trained GAN."""

    dataset: str
    data: Data
    judge: Judge
    slot: str
    new: str

    @property
    def names(self) -> list[str]:
        return [name for name in self.data.names if name != self.new]

    def measure(self, generator: torch.nn.Module, *, slot_images: int = 1000, images: int = 0) -> dict[str, float]:
        """Of the slot: distance to the new class, and which class is seen. Of the remaining labels: seen, and their distance."""
        slot, index = self.names.index(self.slot), self.data.names.index
        labels = torch.tensor([slot] * slot_images + [label for label in range(9) if label != slot] * images)
        with autocast(torch.device("cpu")):
            fakes = sample_images(generator, labels, gaussian_latents(Z_DIM), seed=1, batch_size=64)
        fakes = fakes.mean(1, keepdim=True) if self.data.images.shape[1] == 1 else fakes
        found = features(self.judge.classifier, fakes)
        with torch.no_grad():
            shown = self.judge.classifier.head(found).argmax(1)
        own = labels == slot
        measured = {
            "distance": frechet_distance(self.judge.real[index(self.new)], found[own]),
            "new": float((shown[own] == index(self.new)).float().mean()),
            "old": float((shown[own] == index(self.slot)).float().mean()),
        }
        if images:
            wanted = torch.tensor([index(name) for name in self.names])[labels]
            rest = [name for name in self.names if name != self.slot]
            measured["remaining"] = float((shown == wanted)[~own].float().mean())
            measured["remaining_distance"] = frechet_distance(
                torch.cat([self.judge.real[index(name)] for name in rest]), found[~own]
            )
        return measured


def run_row(swap: Swap, gan: Gan, section: dict[str, Any], seed: int, steps: int, every: int) -> dict[str, Any]:
    """One swap: its method's `prepare`, then fine-tuning, measured as it goes."""
    data, started = swap.data, time.monotonic()
    settings = parse_settings({"swap": {swap.slot: swap.new}, "accelerate": True, "snapshot_images": 0, **section})
    counts = tuple(torch.bincount(data.classes, minlength=len(data.names)).tolist())
    plan = resolve_labels(settings, 9, DataClasses(data.names, counts), swap.names)
    to_label = torch.full((len(data.names),), -1)
    for index, label in plan.class_to_label.items():
        to_label[index] = label
    labels = to_label[data.classes]
    images, labels = data.images[labels >= 0].expand(-1, 3, -1, -1), labels[labels >= 0]
    torch.manual_seed(seed)
    method = phases[settings.method](
        Context(settings, plan, seed, log=lambda line: None, real_images=lambda label, n: images[labels == label][:n])
    )
    before = swap.measure(gan.generator, images=250)
    method.prepare(gan)
    curve = {0: swap.measure(gan.generator, images=250)}
    prepared = time.monotonic() - started
    loop = Loop(gan, images, labels, torch.tensor(plan.live), OPTIONS, torch.Generator().manual_seed(seed + 1),
                method=method, accelerated=settings.accelerate)  # fmt: skip
    for step in range(steps):
        loop.step(step)
        if (step + 1) % every == 0:
            curve[step + 1] = swap.measure(gan.generator, images=250 if step + 1 == steps else 0)
    return {"before": before, "curve": curve, "prepare_s": prepared, "seconds": time.monotonic() - started}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="mnist.npz (x_train, y_train, x_test, y_test)")
    parser.add_argument("--cifar", type=Path, help="a zip file of train/CLASS/*.jpg and valid/CLASS/*.jpg, 32x32")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bench_swap")
    args = parser.parse_args(arguments)
    for dataset in ("mnist", "cifar"):
        if getattr(args, dataset) is None:
            continue
        data = load_data(dataset, getattr(args, dataset))
        for new in dict.fromkeys(new for _, new in PAIRS[dataset]):
            pretrained(args.out, dataset, data, new)


if __name__ == "__main__":
    main()
