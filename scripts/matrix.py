"""Every config that StudioGAN ships, reduced in width, through its own main.py: pre-training, each method, going on, folding,
and whether the other labels stay as they were.

Results lie in docs/results/matrix.json, and the table of them in matrix.md beside it; what is there is not run again. Ctrl-C
loses nothing. docs/results/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import torch
from config_matrix.cells import CELLS
from config_matrix.child import HEAVY
from config_matrix.data import write_data
from config_matrix.reduction import read_config
from config_matrix.results import OUTCOMES, WRONG, Results
from config_matrix.schedule import run_all
from config_matrix.site import Site

from rcas_plugin import RcasError
from rcas_plugin.studiogan.locate import REPOSITORY, find_studiogan


def main() -> int:
    """Run what is asked for and is not there yet, write the table, say the counts; 1 where something went wrong."""
    args = _arguments()
    studiogan = find_studiogan(args.studiogan)
    paths = chosen(studiogan / "src" / "configs", args.configs)
    results, start = Results(args.out), time.monotonic()
    warm_up()
    data = write_data(args.work / "data")
    sites = [Site(name_of(path), read_config(path), args.work / name_of(path), data, studiogan) for path in paths]
    if args.again is not None:
        for site in sites:
            results.forget(site.name, OUTCOMES if args.again == "all" else (*WRONG, "not run"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends it otherwise ends the runs as well, as Ctrl-C does
    try:
        run_all(sites, results, args.cells, jobs=args.jobs, timeout=args.timeout, keep=args.keep)
    except KeyboardInterrupt:
        print(f"\nStopped; the same command goes on. {results.summary()}")
        return 130
    table = args.out.with_suffix(".md")
    results.write_table(table)
    print(f"{results.summary()}\n{time.monotonic() - start:.0f} s. The table: {table}")
    return int(any(results.counts()[outcome] for outcome in WRONG))


def warm_up() -> None:
    """Import once what every run would import. One thread each: runs go side by side, and a pool of threads is lost in a fork."""
    os.environ.update({"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"})
    os.environ.setdefault("WANDB_MODE", "disabled")
    for module in HEAVY:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    torch.set_num_threads(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, root = parser.add_argument, REPOSITORY
    names = [cell.name for cell in CELLS]
    add("--configs", nargs="+", default=["CIFAR10"], help="folders of StudioGAN's configs, or globs such as CIFAR10/SNGAN*")
    add("--cells", nargs="+", default=[], choices=names, metavar="CELL", help="columns of the table, with what they need")
    add("--out", type=Path, default=root / "docs" / "results" / "matrix.json", help="the results file")
    add("--work", type=Path, default=root / "outputs" / "matrix", help="where the runs and their logs lie")
    add("--jobs", type=int, default=2, help="configs at a time")
    add("--timeout", type=float, default=600, help="seconds a run may take")
    add("--again", choices=["failed", "all"], help="forget these cells of the chosen configs, and run them again")
    add("--keep", action="store_true", help="keep the runs of configs where nothing went wrong, too")
    add("--studiogan", type=Path, default=None, help="a StudioGAN; the submodule by default")
    return parser.parse_args()


def chosen(configs: Path, patterns: list[str]) -> list[Path]:
    """The config files of folders or globs.

    Raises:
        RcasError: a pattern names none.
    """
    paths: set[Path] = set()
    for pattern in patterns:
        whole_folder = (configs / pattern).is_dir()
        files = set(configs.glob(f"{pattern}/*.yaml" if whole_folder else f"{pattern.removesuffix('.yaml')}.yaml"))
        if not files:
            raise RcasError(f"--configs: {pattern} names no config in {configs}; give such as CIFAR10, or CIFAR10/SNGAN*")
        paths |= files
    return sorted(paths)


def name_of(path: Path) -> str:
    """Folder and name of a config file, such as CIFAR10/SNGAN."""
    return f"{path.parent.name}/{path.stem}"


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except RcasError as mistake:
        print(f"matrix: {mistake}", file=sys.stderr)
        raise SystemExit(2) from None
