"""The evidence: does a swap help a classifier, where its generator saw no more real images of the new class than that does?

    python scripts/bench_utility.py --tiles ../shared/data/magnetic_tiles.zip --cifar ../shared/data/cifar10_subset.zip

For every seed and number of real images a swap is trained with those images of the new class alone, on the embedded networks,
and its images go into the comparison of `rcas utility`. Each training has a file of its own, so an interrupted grid goes on where
it was, and several processes may work on one output folder (`--part 0/2` and `--part 1/2`).
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from swap_grid.gans import build, load, pretrain
from swap_grid.parts import OPTIONS
from torch import Tensor
from tqdm.auto import tqdm

from rcas_plugin.checkpoints.checkpoint import Checkpoint
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
from rcas_plugin.utility.training import Stock, as_floats
from rcas_plugin.utility.trials import AMOUNTS, SIZES, Options
from rcas_plugin.watch.machine import describe_run
from rcas_plugin.weights.average import Average, tensors_of

#: Of images, and of `g_conv_dim` and `d_conv_dim` of the GANs that are trained here.
SIZE, WIDTHS = 32, (16, 32)
#: data set -> (the class that is given up, the new one).
SWAPS = {"tiles": ("blowhole", "crack"), "cifar": ("truck", "airplane")}


@dataclass(frozen=True)
class Data:
    """A data set with the old class in it.

    Attributes:
        name: of the data set.
        real: training and test images of the remaining and of the new class.
        old: the name of the class that is given up.
        old_images: its training images, for pre-training alone.
    """

    name: str
    real: Material
    old: str
    old_images: Tensor

    @property
    def new(self) -> str:
        return self.real.classes[self.real.new]

    @property
    def labels(self) -> list[str]:
        """The class behind each label of the pre-trained GAN."""
        return sorted({*self.real.classes, self.old} - {self.new})


def read_data(name: str, path: Path, cache: Path) -> Data:
    """The images of a zip file of train/CLASS/ and valid/CLASS/, unpacked to `cache`."""
    root = cache / name
    if not root.is_dir():
        with zipfile.ZipFile(path) as archive, tqdm(archive.namelist(), desc=f"unpacking {path.name}", delay=2) as entries:
            partial = cache / f"{name}.part"
            for entry in entries:
                archive.extract(entry, partial)
        partial.rename(root)
    listed = [
        {folder.name: sorted(str(file) for file in folder.iterdir()) for folder in sorted((root / part).iterdir())}
        for part in ("train", "valid")
    ]
    old, new = SWAPS[name]
    whole = read_material(listed[0], listed[1], new, SIZE, PATTERN)
    return without(name, whole, old)


def without(name: str, whole: Material, old: str) -> Data:
    """The data set of a swap: the old class's images are set aside."""
    gone = whole.classes.index(old)
    classes = tuple(other for other in whole.classes if other != old)

    def kept(part: Part) -> Part:
        left = part.at([index for index, label in enumerate(part.labels.tolist()) if label != gone])
        return replace(left, labels=left.labels - (left.labels > gone).long())

    new = classes.index(whole.classes[whole.new])
    return Data(name, Material(classes, new, kept(whole.train), kept(whole.test)), old,
                whole.train.images[whole.train.positions(gone)])  # fmt: skip


def in_colour(images: Tensor) -> Tensor:
    return as_floats(images).expand(-1, 3, -1, -1)


def pretrained(args: argparse.Namespace, data: Data) -> Gan:
    """The GAN of the classes without the new one: of a file, or trained now or before."""
    if args.pretrained is not None:
        return load(args.pretrained)
    path = args.out / "pretrain" / f"{data.name}-{args.pretrain_steps}.pth"
    if not path.is_file():
        real = data.real.train
        parts = [data.old_images if name == data.old else real.images[real.positions(data.real.classes.index(name))]
                 for name in data.labels]  # fmt: skip
        labels = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(images) for images in parts]))
        pretrain(path, build(len(parts), SIZE, WIDTHS), in_colour(torch.cat(parts)), labels, {**OPTIONS, "d_updates_per_step": 2},
                 args.pretrain_steps)  # fmt: skip
    return load(path)


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
    gan = pretrained(args, data)
    torch.manual_seed(seed)
    method = methods[settings.method](
        Context(settings, plan, seed, args.gan_steps, log=lambda line: None,
                real_images=lambda label, count: images[labels == label][:count])
    )  # fmt: skip
    lifecycle = Lifecycle.begin(method, gan, Checkpoint.of(gan))
    times = repeat_factors(dict(enumerate(torch.bincount(labels).tolist())), plan.slots.keys(), settings.drawn_share)
    shown = torch.arange(len(labels)).repeat_interleave(torch.tensor([times[label] for label in labels.tolist()]))
    loop = Loop(gan, images[shown], labels[shown], torch.tensor(plan.drawn(settings.drawn_share)), OPTIONS,
                torch.Generator().manual_seed(seed + 1), lifecycle=lifecycle, accelerated=settings.accelerate)  # fmt: skip
    average = Average(gan.generator, settings.average)
    for step in tqdm(range(args.gan_steps), desc=f"{data.name}: swap of {real} images, seed {seed}", unit="step", leave=False):
        loop.step(step)
        average.update(tensors_of(gan.generator).values())
    gan.generator.load_state_dict(average.state_dict())  # without `RCAS.average` the weights themselves
    return gan, plan


def generated(args: argparse.Namespace, data: Data, real: int, seed: int) -> Stock:
    """Images of the row's own swap, made now or before."""
    start = args.pretrain_steps if args.pretrained is None else args.pretrained.stem
    stem = safe_stem(f"{data.name}-{args.method}-{start}-{args.gan_steps}-{args.generated}-{real}-{seed}")
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
    options = Options((size,), 1, tuple(args.amounts), args.steps, 64, args.generated)
    start = args.pretrain_steps if args.pretrained is None else args.pretrained.stem
    gan = f"{args.method} {start} {args.gan_steps}"
    folder = args.out / "rows" / data.name / f"{size}-{seed}-{options.digest(data.real.fingerprint(), gan)}"
    return Experiment(data.real, options, lambda: generated(args, data, size, seed), folder, first_seed=seed, alone=size)


def table(args: argparse.Namespace, data: Data, results: Sequence[Result], choices: Sequence[Choice]) -> Utility:
    """The summary of all seeds and sizes."""
    state = f"the last state of {args.method}, {args.gan_steps} steps; a swap for each row"
    remark = "Each row's generator saw the real images of that row alone."
    return summary(data.real, results, choices, saw=None, state=state, everywhere=True, copies=None, remarks=[remark])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--tiles", type=Path, help="a zip file of train/CLASS/*.png and valid/CLASS/*.png, crops NNNN_k of photograph NNNN")
    add("--cifar", type=Path, help="a zip file of train/CLASS/*.jpg and valid/CLASS/*.jpg")
    add("--method", default="class_swap", help="of the swaps (default: class_swap)")
    add("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N", help="real images of the new class")
    add("--seeds", type=int, default=3, help="swaps and classifiers of each size")
    add("--amounts", type=float, nargs="+", default=list(AMOUNTS), metavar="X", help="of generated images")
    add("--pretrain-steps", type=int, default=3000, metavar="N", help="of the GAN without the new class")
    add(
        "--pretrained", type=Path, metavar="FILE", help="that GAN, of bench_swap.py (OUT/pretrain/*.pth), in place of training it"
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
        path = getattr(args, name)
        if path is None:
            continue
        data = read_data(name, path, args.out / "data")
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
