"""The evidence: swaps by several methods from shared pre-trained GANs, judged by classifiers of the real images.

    python scripts/bench_swap.py --mnist ../shared/data/mnist.npz --cifar ../shared/data/cifar10_subset.zip \\
        --tiles ../shared/data/magnetic_tiles.zip

Every (method, class pair, seed) is one row in a file of its own, so an interrupted grid goes on where it was, and several
processes may work on one output folder (`--part 0/2` and `--part 1/2`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swap_grid.data import add_data_sets, load_data
from swap_grid.gans import build, pretrained
from swap_grid.judge import KINDS, Judge, Swap
from swap_grid.kept import kept_table, print_kept
from swap_grid.parts import OPTIONS, PARTS
from swap_grid.runs import AVERAGE, METHODS, Row, rows_of, run_row
from swap_grid.table import all_rows, compare, mean_curves, print_curves, print_table
from tqdm.auto import tqdm

from rcas_plugin.files import write_json
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.watch.machine import describe_run

JUDGE = (
    "a classifier trained on the real training images; distances are Fréchet distances in its features, 1,000 images of the slot,"
    " 500 in narrow parts; a second one, of another architecture and seed, likewise"
)


def run_grid(args: argparse.Namespace, name: str) -> None:
    """Run the rows of a part of the grid that are not there yet."""
    part = PARTS[name]
    data = load_data(part.dataset, getattr(args, part.dataset), part.size)
    for new in dict.fromkeys(new for _, new in part.pairs):
        pretrained(args.out, part, data, new)
    judges = [Judge.of(args.out, which, part.dataset, data, part.judge_epochs) for which in KINDS]
    new_classes = dict.fromkeys(new for _, pair in part.pairs for new in pair)
    write_json(args.out / "judge" / f"{name}.json", {
        which: {"accuracy": judge.accuracy, "real test images": {new: judge.of_real(data, new) for new in new_classes}}
        for which, judge in zip(KINDS, judges, strict=True)
    })  # fmt: skip
    share, shares = (int(number) for number in args.part.split("/"))
    wanted = [row for index, row in enumerate(rows_of(args, name)) if index % shares == share]
    for row in tqdm(wanted, desc=f"{name}: swaps", unit="swap"):
        path = row.file(args.out)
        if not path.is_file():
            gan = pretrained(args.out, part, data, row.pair[1])
            if row.name == "from scratch":
                gan = build(len(data.names) - len(row.pair[1]), part, row.seed + 1)
            slots, new = row.pair
            swap = Swap(data, judges[0], slots, new, judges[1])
            measured = run_row(swap, gan, row.section, row.seed, part, row.few, row.trial)
            write_json(path, {"section": row.section, "options": OPTIONS, **measured})


def parts_of(args: argparse.Namespace) -> list[str]:
    """The parts of the grid that the options ask for; without one whose data set is not given."""
    if args.transfer:
        return ["transfer"]
    about = (", narrow" if args.narrow else "") + (f", {args.backbone}" if args.backbone != "resnet" else "")
    return [f"{name}{about}" for name in ("mnist", "cifar", "tiles") if getattr(args, name) and f"{name}{about}" in PARTS]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_sets(parser)
    parser.add_argument("--narrow", action="store_true",
                        help="narrow networks and a third of the steps, for a processor without fast convolutions")  # fmt: skip
    parser.add_argument("--backbone", choices=("resnet", "big_resnet"), default="resnet",
                        help="the embedded networks, or StudioGAN's; big_resnet with --narrow --tiles alone")  # fmt: skip
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
    names = parts_of(args)
    if not names:
        parser.error(f"no part of the grid has these options; there are: {'; '.join(PARTS)}")
    for name in names:
        part = PARTS[name]
        if not args.table:
            run_grid(args, name)
        table = compare(args, name)
        print_table(name, table)
        curves = mean_curves(args, name)
        print_curves(name, curves)
        kept = kept_table(args, name)
        print_kept(name, kept)
        judged = json.loads((args.out / "judge" / f"{name}.json").read_text())
        sections = {method: Row(name, 0, part.pairs[0], method, 0).section for method in METHODS}
        results[name] = {
            "steps": part.steps, "judge": judged, "sections": sections, "table": table, "curves": curves, "kept": kept,
            "rows": all_rows(args, name),
        }  # fmt: skip
    what = {"judge": JUDGE, "options": OPTIONS, "average": AVERAGE}
    write_json(args.out / args.json, {**describe_run(), **what, **results})


if __name__ == "__main__":
    main()
