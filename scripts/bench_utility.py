"""The evidence: does a swap help a classifier, where its generator saw no more real images of the new class than that does?

    python scripts/bench_utility.py --tiles ../shared/data/magnetic_tiles.zip --cifar ../shared/data/cifar10_subset.zip

For every seed and number of real images a swap is trained with those images of the new class alone, from the pre-trained GAN that
scripts/bench_swap.py starts from (`--gans OUT` names its output folder, else it is trained here), and its images go into the
comparison of `rcas utility`. Each training has a file of its own, so an interrupted grid goes on where it was, and several
processes may work on one output folder (`--part 0/2` and `--part 1/2`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from swap_grid.data import load_data, unpacked
from swap_grid.gans import load, pretrained_file
from swap_grid.parts import OPTIONS, PARTS
from swap_grid.parts import Part as GridPart
from torch import Tensor
from tqdm.auto import tqdm

from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.data.stock import Stock, as_floats
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path, safe_stem, write_json
from rcas_plugin.gan import Gan
from rcas_plugin.labels import DataClasses, LabelPlan, repeat_factors, resolve_labels
from rcas_plugin.methods.base import Context
from rcas_plugin.registry import methods
from rcas_plugin.report.utility import Utility, section_of
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.utility.command import drawing, print_section
from rcas_plugin.utility.experiment import Choice, Experiment, Result, stock_of
from rcas_plugin.utility.material import Material, Part, read_material
from rcas_plugin.utility.photographs import PATTERN
from rcas_plugin.utility.summary import summary
from rcas_plugin.utility.trials import AMOUNTS, SIZES, Options
from rcas_plugin.watch.machine import describe_run
from rcas_plugin.weights.average import Average, tensors_of

#: data set -> (the class that is given up, the new one).
SWAPS = {"tiles": ("blowhole", "crack"), "cifar": ("truck", "airplane")}


@dataclass(frozen=True)
class Data:
    """A data set with the old class in it.

    Attributes:
        name: of the data set.
        real: training and test images of the remaining and of the new class.
        old: the name of the class that is given up.
        gan: the file of the GAN that every swap starts from; it knows the old class, and not the new one.
        part: of the grid, which that GAN is of.
    """

    name: str
    real: Material
    old: str
    gan: Path
    part: GridPart

    @property
    def new(self) -> str:
        return self.real.classes[self.real.new]

    @property
    def labels(self) -> list[str]:
        """The class behind each label of the pre-trained GAN."""
        return sorted({*self.real.classes, self.old} - {self.new})


def read_data(args: argparse.Namespace, name: str) -> Data:
    """A data set's images, of its zip file of train/CLASS/ and valid/CLASS/, and its pre-trained GAN, trained now or before."""
    path, part = getattr(args, name), PARTS[f"{name}, narrow" if args.narrow else name]
    old, new = SWAPS[name]
    grid = load_data(name, path, part.size)
    gan = pretrained_file(args.gans or args.out, part, grid, (new,))
    real = without(read_material(*files_of(path, args.out / "data", name), new, part.size, PATTERN), old)
    return Data(name, real, old, gan, part)


def files_of(path: Path, cache: Path, name: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The files of a zip file, class by class, of train/ and of valid/; unpacked to `cache`, now or before."""
    root = unpacked(path, cache, name, {})
    train, valid = (
        {folder.name: sorted(str(file) for file in folder.iterdir()) for folder in sorted((root / part).iterdir())}
        for part in ("train", "valid")
    )
    return train, valid


def without(whole: Material, old: str) -> Material:
    """The images of a swap: those of the old class are set aside."""
    gone = whole.classes.index(old)
    classes = tuple(other for other in whole.classes if other != old)

    def kept(part: Part) -> Part:
        left = part.at([index for index, label in enumerate(part.labels.tolist()) if label != gone])
        return replace(left, labels=left.labels - (left.labels > gone).long())

    new = classes.index(whole.classes[whole.new])
    return Material(classes, new, kept(whole.train), kept(whole.test))


def in_colour(images: Tensor) -> Tensor:
    return as_floats(images).expand(-1, 3, -1, -1)


def swapped(args: argparse.Namespace, data: Data, real: int, seed: int) -> tuple[Gan, LabelPlan]:
    """A swap that saw `real` images of the new class, those that the classifier of this row sees."""
    part = data.real.with_new(real, seed)
    section = {"method": args.method, "swap": {data.old: data.new}, "snapshot_images": 0, "accelerate": True}
    settings = parse_settings(section)
    names = data.real.classes
    counts = tuple(torch.bincount(part.labels, minlength=len(names)).tolist())
    plan = resolve_labels(settings, len(data.labels), DataClasses(names, counts), data.labels)
    labels = torch.tensor([plan.class_to_label[label] for label in part.labels.tolist()])
    images = in_colour(part.images)
    gan = load(data.gan, len(data.labels), data.part)
    torch.manual_seed(seed)
    method = methods[settings.method](
        Context(settings, plan, seed, args.gan_steps, log=lambda line: None,
                real_images=lambda label, count: images[labels == label][:count])
    )  # fmt: skip
    lifecycle = Lifecycle.begin(method, gan, Checkpoint.of(gan))
    times = repeat_factors(dict(enumerate(torch.bincount(labels).tolist())), plan.slots.keys(), settings.drawn_share)
    if method.shown(settings) == "new":
        times = {label: int(label in plan.slots) for label in times}
    shown = torch.arange(len(labels)).repeat_interleave(torch.tensor([times[label] for label in labels.tolist()]))
    loop = Loop(gan, images[shown], labels[shown], torch.tensor(method.drawn(settings, plan)), OPTIONS,
                torch.Generator().manual_seed(seed + 1), lifecycle=lifecycle, accelerated=settings.accelerate)  # fmt: skip
    average = Average(gan.generator, settings.average) if settings.average else None
    for step in tqdm(range(args.gan_steps), desc=f"{data.name}: swap of {real} images, seed {seed}", unit="step", leave=False):
        loop.step(step)
        if average is not None:
            average.update(tensors_of(gan.generator).values())
    if average is not None:
        gan.generator.load_state_dict(average.state_dict())
    return gan, plan


def generated(args: argparse.Namespace, data: Data, real: int, seed: int) -> Stock:
    """Images of the row's own swap, made now or before."""
    stem = safe_stem(f"{data.gan.stem}-{args.method}-{args.gan_steps}-{args.generated}-{real}-{seed}")
    path = args.out / "generated" / f"{stem}.safetensors"
    if not path.is_file():
        gan, plan = swapped(args, data, real, seed)
        stock = stock_of(drawing(gan, plan.names), data.real, args.generated)
        with atomic_path(path) as temporary:
            save_file({"images": stock.images}, temporary)
    images = load_file(path)["images"]
    classes = len(data.real.classes)
    return Stock(images, torch.arange(classes).repeat_interleave(args.generated), classes)


def run_grid(args: argparse.Namespace, data: Data) -> tuple[list[Result], list[Choice]]:
    """The rows of this process; each pair of seed and size is a comparison with a generator of its own."""
    which, parts = (int(number) for number in args.part.split("/"))
    sizes = [size for size in args.sizes if size <= data.real.of_new]
    wanted = [(seed, size) for seed in range(args.seeds) for size in sizes]
    results: list[Result] = []
    choices: list[Choice] = []
    for index, (seed, size) in enumerate(tqdm(wanted, desc=f"{data.name}: comparisons", unit="comparison")):
        if index % parts == which:
            rows, tried = comparison(args, data, size, seed).run()
            results += rows
            choices += tried
    return results, choices


def comparison(args: argparse.Namespace, data: Data, size: int, seed: int) -> Experiment:
    """All conditions at one size, with the images of a swap that saw the same real images of the new class."""
    options = Options((size,), 1, tuple(args.amounts), args.steps, 64, args.generated, everywhere=not args.new_alone)
    gan = f"{args.method} {data.gan.stem} {args.gan_steps}"
    folder = args.out / "rows" / data.name / f"{size}-{seed}-{options.digest(data.real.fingerprint(), gan)}"
    return Experiment(data.real, options, lambda: generated(args, data, size, seed), folder, first_seed=seed, alone=size)


def table(args: argparse.Namespace, data: Data, results: Sequence[Result], choices: Sequence[Choice]) -> Utility:
    """The summary of all seeds and sizes."""
    state = f"the last state of {args.method}, {args.gan_steps} steps; a swap for each row"
    remark = "Each row's generator saw the real images of that row alone."
    return summary(
        data.real, results, choices, saw=None, state=state, everywhere=not args.new_alone, copies=None, remarks=[remark]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tiles", type=Path, help="a zip file of train/CLASS/*.png and valid/CLASS/*.png, crops NNNN_k of photograph NNNN")
    add("--cifar", type=Path, help="a zip file of train/CLASS/*.jpg and valid/CLASS/*.jpg")
    add("--method", default="class_swap", help="of the swaps (default: class_swap)")
    add("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N", help="real images of the new class")
    add("--seeds", type=int, default=3, help="swaps and classifiers of each size")
    add("--amounts", type=float, nargs="+", default=list(AMOUNTS), metavar="X", help="of generated images")
    add("--new-alone", action="store_true", help="show generated images of the new class alone, and not of every class")
    add("--narrow", action="store_true", help="networks and images of bench_swap.py's narrow parts")
    add(
        "--gans",
        type=Path,
        metavar="OUT",
        help="bench_swap.py's output folder, whose pre-trained GANs are taken (default: --out)",
    )
    add("--gan-steps", type=int, default=320, metavar="N", help="of each swap")
    add("--steps", type=int, default=300, help="of each classifier")
    add("--generated", type=int, default=1000, metavar="N", help="the most generated images of a class")
    add("--part", default="0/1", help="comparisons that this process runs, as K/N: every N-th from the K-th")
    add("--json", default="bench_utility.json", metavar="NAME", help="name of the results' file in the output folder")
    add("--out", type=Path, default=REPOSITORY / "outputs" / "bench_utility")
    args = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    for name in SWAPS:
        if getattr(args, name) is None:
            continue
        data = read_data(args, name)
        try:
            results, choices = run_grid(args, data)
        except KeyboardInterrupt:
            print("\nbench_utility: what is finished is kept; the same command goes on")
            return 130
        if not args.part.endswith("/1"):
            print("bench_utility: without --part, the same command prints the table of all parts")
            continue
        if not results:
            raise RcasError(f"--sizes: {data.new} has {data.real.of_new} training images; name a smaller number")
        utility = table(args, data, results, choices)
        print(f"\n{name}: {data.old} → {data.new}")
        print_section(section_of(utility))
        found[name] = utility.model_dump(mode="json")
    if found:
        write_json(args.out / args.json, {**describe_run(), "options": OPTIONS, **found})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
