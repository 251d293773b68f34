"""Piggyback GAN on a translator of images: two tasks one after the other, the first restored to the bit, FIDs in a table.

    python scripts/paired_translation.py

A small U-Net learns edges -> digit as any network does. Its filters are then a frozen bank, and inverted digit -> digit is
learned with a quarter of the filters of its own, the others being combinations of the bank. Beside it: fine-tuning, which forgets
the first task, and a network of its own. The published repository tabulates no FID; here it is that of held-out images, in the
features of a small classifier of the digits. Each network is a file, so that after Ctrl-C the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from paired.networks import UNet, initialise
from paired.pairs import TASKS, Digits, load_pairs
from paired.training import fit
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rcas_plugin.checkpoints.tasks import Task, folded, read_task, task_of, write_task
from rcas_plugin.files import atomic_path, write_json
from rcas_plugin.methods.piggyback import convert
from rcas_plugin.methods.piggyback.conversion import growth
from rcas_plugin.methods.piggyback.schedule import layer_parts, mirrored_parts, pair_distance, task_part
from rcas_plugin.metrics.classifier import ImageClassifier, predict, train_classifier
from rcas_plugin.metrics.distances import frechet_distance
from rcas_plugin.metrics.domain import features_of
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.watch.machine import describe_run
from rcas_plugin.weights.synapses import find_convolutions

FIRST, SECOND = TASKS
State = dict[str, Tensor]


class Translators:
    """The networks of both tasks, each trained when it is asked for, once, and kept as a file.

    Args:
        digits: the targets of all pairs.
        args: of the command.
    """

    def __init__(self, digits: Digits, args: argparse.Namespace) -> None:
        self.digits, self.args, self.out = digits, args, Path(args.out)

    def new(self, state: Mapping[str, Tensor] | None = None) -> UNet:
        """A network with the given weights, or with new ones, in evaluation mode."""
        torch.manual_seed(self.args.seed)
        network = UNet(self.args.size, self.args.width)
        initialise(network)
        if state is not None:
            network.load_state_dict(state)
        return network.eval()

    @torch.no_grad()
    def translate(self, network: nn.Module, task: str) -> Tensor:
        """A network's images for the held-out inputs of a task: (n, 1, size, size)."""
        images: Tensor = network(TASKS[task](self.digits.held_out))
        return images

    def _train(self, name: str, task: str, network: nn.Module, trained: list[nn.Parameter]) -> None:
        args, targets = self.args, self.digits.images
        seconds = fit(
            network, trained, TASKS[task](targets), targets, args.steps, self._unfinished(name), name=name, seed=args.seed
        )
        made = {"images": self.translate(network, task)}
        with atomic_path(self.out / f"{name}.images.safetensors") as temporary:
            save_file(made, temporary, {"seconds": f"{seconds:.1f}"})

    def _unfinished(self, name: str) -> Path:
        return self.out / f"{name}.unfinished.pth"

    def whole(self, name: str, task: str, start: State | None = None) -> State:
        """A network all of whose weights were trained on a task."""
        path = self.out / f"{name}.safetensors"
        if not path.is_file():
            network = self.new(start)
            self._train(name, task, network, list(network.parameters()))
            with atomic_path(path) as temporary:
                save_file({key: value.contiguous() for key, value in network.state_dict().items()}, temporary)
        self._unfinished(name).unlink(missing_ok=True)
        return load_file(path)

    def piggyback(self, base: State) -> Task:
        """The second task on the first one's filters; prints what it adds."""
        path = self.out / "piggyback.safetensors"
        network = self.new(base)
        trained = convert(network, self._part(network), init=self.args.init, seed=self.args.seed)
        grown = growth(network)
        print(
            f"piggyback: the bank has {grown.bank} filters, the task adds {grown.filters}; {grown.filter_parameters:,} "
            f"parameters, and {grown.mixing_parameters:,} that mix"
        )
        if not path.is_file():
            self._train("piggyback", SECOND, network, trained)
            write_task(path, task_of(network.state_dict(), base, labels=(), method="piggyback"))
        self._unfinished("piggyback").unlink(missing_ok=True)
        return read_task(path)

    def images_at_the_end(self, name: str) -> tuple[Tensor, float]:
        """The held-out images of a network as it had just been trained, and the seconds that took."""
        with safe_open(self.out / f"{name}.images.safetensors", framework="pt") as file:
            return file.get_tensor("images"), float(file.metadata()["seconds"])

    def _part(self, network: UNet) -> float | list[float]:
        """Lambda by the command's option."""
        layers, how = len(find_convolutions(network)), self.args.part
        if how == "layer":
            return layer_parts(layers)
        if how == "mirrored":
            return mirrored_parts(layers)
        if how != "task":
            return float(how)
        with torch.no_grad():
            distance = pair_distance(network(TASKS[SECOND](self.digits.images)), self.digits.images)
        print(f"distance of the second task from the first: {distance:.3f}, lambda {task_part(distance)}")
        return task_part(distance)


class Judge:
    """The figures of a translator's held-out images, by a classifier of the real digits.

    Args:
        digits: real ones.
        seed: of the classifier.
    """

    def __init__(self, digits: Digits, seed: int) -> None:
        self.digits = digits
        self.classifier: ImageClassifier = train_classifier(digits.images, digits.labels, 10, epochs=20, shift=1, seed=seed)
        self.real = features_of(self.classifier, digits.held_out)

    def figures(self, images: Tensor) -> dict[str, float]:
        """Fréchet distance to the held-out targets, mean absolute error to each image's own, and how many are read right."""
        return {
            "distance": frechet_distance(self.real, features_of(self.classifier, images)),
            "l1": float((images - self.digits.held_out).abs().mean()),
            "read": float((predict(self.classifier, images) == self.digits.held_out_labels).float().mean()),
        }

    def of_real(self) -> dict[str, float]:
        """The same of real images: of the training set for the distance, of the held-out ones for what is read."""
        distance = frechet_distance(self.real, features_of(self.classifier, self.digits.images))
        return {**self.figures(self.digits.held_out), "distance": distance}


def compare(translators: Translators, judge: Judge) -> dict[str, Any]:
    """Train what is not trained, and judge it: a row for each network and task, and whether the first came back to the bit."""
    base = translators.whole("first", FIRST)
    task = translators.piggyback(base)
    tuned = translators.whole("fine-tuned", SECOND, base)
    translators.whole("alone", SECOND)
    ends = {name: translators.images_at_the_end(name) for name in ("first", "piggyback", "fine-tuned", "alone")}

    def restored(state: Mapping[str, Tensor], name: str) -> Tensor:
        return translators.translate(translators.new(state), name)

    second, first = restored(folded(base, [task], 0), SECOND), restored(base, FIRST)
    rows = {
        f"{FIRST}: as it was learned": ends["first"][0],
        f"{FIRST}: restored after piggyback": first,
        f"{FIRST}: after fine-tuning on the second task": restored(tuned, FIRST),
        f"{SECOND}: piggyback": second,
        f"{SECOND}: fine-tuned": ends["fine-tuned"][0],
        f"{SECOND}: a network of its own": ends["alone"][0],
    }
    return {
        "rows": {"real images": judge.of_real(), **{name: judge.figures(images) for name, images in rows.items()}},
        "first_restored_to_the_bit": torch.equal(first, ends["first"][0]),
        "second_restored_to_the_bit": torch.equal(second, ends["piggyback"][0]),
        "numbers_of_the_network": sum(value.numel() for value in base.values()),
        "numbers_of_the_second_task": sum(value.numel() for value in task.tensors.values()),
        "seconds": {name: seconds for name, (_, seconds) in ends.items()},
    }


def print_table(results: Mapping[str, Any]) -> None:
    """Print the results as a table in Markdown."""
    print("\n| task: network | distance | mean absolute error | read right |\n| --- | --- | --- | --- |")
    for name, row in results["rows"].items():
        print(f"| {name} | {row['distance']:.2f} | {row['l1']:.3f} | {row['read']:.1%} |")
    second, whole = results["numbers_of_the_second_task"], results["numbers_of_the_network"]
    print(f"\nthe second task's file holds {second:,} numbers, {second / whole:.1%} of the network's")
    for task in ("first", "second"):
        print(f"{task} task restored to the bit: {'yes' if results[f'{task}_restored_to_the_bit'] else 'NO'}")


def part(text: str) -> str:
    """An argument of `--part`: a number in (0, 1], or a word."""
    if text not in ("layer", "mirrored", "task") and not 0 < float(text) <= 1:
        raise ValueError
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, help="mnist.npz in place of scikit-learn's digits")
    parser.add_argument("--images", type=int, default=2000, help="of MNIST's to train on (default: %(default)s)")
    parser.add_argument("--size", type=int, choices=(16, 32), default=16, help="pixels a side (default: %(default)s)")
    parser.add_argument("--width", type=int, default=16, help="channels of the first layer (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="of each training (default: %(default)s)")
    parser.add_argument(
        "--part",
        type=part,
        default="0.25",
        metavar="PART",
        help="lambda: the part of each layer's filters that the second task has of its own; or layer, mirrored (schedules of the "
        "published runs), task (measured) (default: %(default)s)",
    )
    parser.add_argument("--init", choices=("identity", "published"), default="identity", help="where the second task starts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "paired_translation")
    args = parser.parse_args()
    settings = {key: getattr(args, key) for key in ("images", "size", "width", "steps", "part", "init", "seed")}
    settings["data"] = "digits" if args.mnist is None else "mnist"
    keep_settings(args.out, settings)
    digits = load_pairs(args.size, args.mnist, args.images)
    try:
        results = compare(Translators(digits, args), Judge(digits, args.seed))
    except KeyboardInterrupt:
        raise SystemExit(f"\ninterrupted; what is trained lies in {args.out}, and the same command goes on") from None
    print_table(results)
    path = args.out / "paired_translation.json"
    write_json(path, {**describe_run(), "settings": settings, **results})
    print(f"figures: {path}")


def keep_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Note what the networks in a folder are trained with; end with a sentence where others are there."""
    path = out / "settings.json"
    if path.is_file() and json.loads(path.read_text()) != settings:
        raise SystemExit(f"--out: {out} holds networks of other settings ({path}); name another folder, or delete it")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)


if __name__ == "__main__":
    main()
