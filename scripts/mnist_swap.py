"""MNIST from nothing: labels 1 to 9 pre-trained by StudioGAN's main.py, then 9 swapped for 0 in three ways, and judged.

    python scripts/mnist_swap.py --mnist ../shared/data/mnist.npz

Each stage is left out where its result lies in the output folder already, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from rcas_plugin.files import atomic_path, write_json
from rcas_plugin.gan import sample_images
from rcas_plugin.metrics.classifier import Classifier, ImageClassifier, predict, recognised, train_classifier
from rcas_plugin.studiogan.locate import REPOSITORY, find_studiogan, main_command
from rcas_plugin.studiogan.networks import load_gan
from rcas_plugin.watch.machine import describe_run

CONFIGS = REPOSITORY / "configs" / "MNIST"
OPTIONS = ("-hdf5", "-l", "-metrics", "none", "--num_workers", "0", "--pre_resizer", "lanczos", "--seed", "0")


def write_folders(mnist: Path, root: Path, digits: range) -> None:
    """MNIST's training images of some digits as train/<digit>/*.png, the form that StudioGAN reads."""
    if (root / "train").is_dir():
        return
    with np.load(mnist, allow_pickle=False) as data:
        images, labels = data["x_train"], data["y_train"]
    partial = root / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    for digit in digits:
        (partial / str(digit)).mkdir(parents=True)
    for index in tqdm(np.flatnonzero(np.isin(labels, digits)), desc=f"{root.name}: image files", disable=None):
        Image.fromarray(images[index]).save(partial / str(labels[index]) / f"{index:05d}.png")
    partial.rename(root / "train")


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 digits (n, 28, 28) as GAN-sized images (n, 1, 32, 32) in [-1, 1], resized as StudioGAN does."""
    resized = [np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.LANCZOS)) for image in images]
    return torch.from_numpy(np.stack(resized))[:, None].float() / 127.5 - 1


def judge(mnist: Path, path: Path) -> tuple[ImageClassifier, float]:
    """The classifier and its accuracy on MNIST's test set."""
    with np.load(mnist, allow_pickle=False) as data:
        test, test_labels = to_tensor(data["x_test"]), torch.from_numpy(data["y_test"]).long()
        if path.is_file():
            model: ImageClassifier = Classifier(1, 10)
            model.load_state_dict(torch.load(path, weights_only=True))
            model.eval()
        else:
            model = train_classifier(to_tensor(data["x_train"]), torch.from_numpy(data["y_train"]).long(), 10)
            with atomic_path(path) as temporary:
                torch.save(model.state_dict(), temporary)
    return model, float((predict(model, test) == test_labels).float().mean())


def run(studiogan: Path, out: Path, stage: str, data: Path, ckpt: Path | None) -> Path:
    """One run of main.py, unless it has ended before; goes on with one that was interrupted; returns its checkpoint folder."""
    save, cfg = out / stage, CONFIGS / f"{stage}.yaml"
    done = save / "done.json"
    if done.is_file() and json.loads(done.read_text())["config"] == cfg.read_text():
        return Path(json.loads(done.read_text())["checkpoint"])
    started = [folder for folder in (save / "checkpoints").glob("*") if list(folder.glob("model=D-current-*"))]
    options = ["-t", "-cfg", str(cfg), "-data", str(data), "-save", str(save), *OPTIONS]
    options += ["--print_freq", "50", "--save_freq", "200"]
    if started or ckpt is not None:
        options += ["-ckpt", str(started[0] if started else ckpt)]
    subprocess.run(main_command(studiogan, *options), check=True)
    checkpoint = max((save / "checkpoints").iterdir(), key=lambda path: path.stat().st_mtime)
    write_json(done, {"checkpoint": str(checkpoint), "config": cfg.read_text()})
    return checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="mnist.npz (x_train, y_train, x_test, y_test)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "mnist_swap")
    parser.add_argument("--studiogan", type=Path, default=None, help="a StudioGAN; the submodule by default")
    parser.add_argument("--images", type=int, default=1000, help="generated images a label that are judged")
    args = parser.parse_args()
    studiogan = find_studiogan(args.studiogan)

    write_folders(args.mnist, args.out / "old", range(1, 10))
    write_folders(args.mnist, args.out / "new", range(10))
    model, accuracy = judge(args.mnist, args.out / "classifier.pth")
    print(f"classifier: {accuracy:.2%} of MNIST's test images")
    pretrained = run(studiogan, args.out, "pretrain", args.out / "old", None)
    rows = {"pre-trained": (CONFIGS / "pretrain.yaml", pretrained)}
    for method in ("class_swap", "rcas", "fine_tune"):
        rows[method] = (
            CONFIGS / f"{method}.yaml",
            run(studiogan, args.out, method, args.out / "new", pretrained),
        )

    labels = torch.arange(9).repeat_interleave(args.images)
    results: dict[str, dict[str, float]] = {}
    for name, (cfg, checkpoint) in rows.items():
        gan = load_gan(studiogan, cfg, checkpoint, best=True)
        images = sample_images(gan.evaluated, labels, gan.latents, seed=1).mean(1, keepdim=True)
        shown = [*range(1, 9), 9 if name == "pre-trained" else 0]
        found = recognised(model, images, labels, shown)
        results[name] = {str(digit): found[label] for label, digit in enumerate(shown)}

    print(f"\nimages that the classifier calls what they should be ({args.images} a label)\n")
    print("| | " + " | ".join(str(digit) for digit in range(1, 9)) + " | slot 9 |")
    print("| --- |" + " --- |" * 9)
    for name, row in results.items():
        print(f"| {name} | " + " | ".join(f"{value:.1%}" for value in row.values()) + " |")
    write_json(
        args.out / "mnist_swap.json",
        {**describe_run(), "classifier_accuracy": accuracy, "recognised": results},
    )


if __name__ == "__main__":
    main()
