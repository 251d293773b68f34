"""The evidence: which strategy of class-incremental learning ends where between its bounds, on three small data sets.

    python scripts/bench_classify.py --mnist ../shared/data/mnist.npz --cifar ../shared/data/cifar10_subset.zip \\
        --tiles ../shared/data/magnetic_tiles.zip

It runs the plans mnist_5x2, cifar10_5_1 and tiles_3_1 of configs/classify by `rcas classify`. Every stage has a folder of its
own, so an interrupted grid goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swap_grid.data import add_data_sets, unpacked

from rcas_plugin import cli
from rcas_plugin.files import write_json
from rcas_plugin.lifelong.strategies import DEFAULT, STRATEGIES
from rcas_plugin.report.classify import RESULTS
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.watch.machine import describe_run

#: data set -> its plan.
PLANS = {"mnist": "mnist_5x2", "cifar": "cifar10_5_1", "tiles": "tiles_3_1"}
#: Images of a digit that are unpacked: of training, and of the test.
DIGITS = {"train": 1000, "valid": 200}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the plans whose data are given; the exit code, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_sets(parser)
    parser.add_argument("--strategies", nargs="+", choices=list(STRATEGIES), default=list(DEFAULT), metavar="NAME",
                        help=f"of these: {', '.join(STRATEGIES)}")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="of each plan")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bench_classify")
    args = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    for name, plan in PLANS.items():
        if getattr(args, name) is None:
            continue
        data = unpacked(getattr(args, name), args.out / "data", name, DIGITS)
        command = ["classify", str(REPOSITORY / "configs" / "classify" / f"{plan}.yaml"), "-o", str(args.out / plan),
                   "--data", str(data), "--seeds", str(args.seeds), "--strategies", *args.strategies]  # fmt: skip
        if (code := cli.main(command)) != 0:
            return code
        results[plan] = json.loads((args.out / plan / RESULTS).read_text(encoding="utf-8"))
    if not results:
        parser.error("no data set is given; give --mnist, --cifar or --tiles")
    write_json(args.out / "bench_classify.json", {**describe_run(), "plans": results})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
