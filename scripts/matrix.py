"""Every config that StudioGAN ships, reduced in width, through its own main.py: pre-training, each method, going on, folding,
and whether the other labels stay as they were.

Results lie in docs/results/matrix.json, and the table of them in matrix.md beside it; what is there is not run again. Ctrl-C
loses nothing. docs/results/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time
import warnings
from collections.abc import Generator
from pathlib import Path

from config_matrix.cells import CELLS
from config_matrix.child import HEAVY, Child, Ended
from config_matrix.data import write_data
from config_matrix.lane import lane
from config_matrix.reduction import read_config
from config_matrix.results import WRONG, Results
from config_matrix.site import Site
from tqdm.auto import tqdm

from rcas_plugin import RcasError
from rcas_plugin.studiogan.locate import REPOSITORY, find_studiogan

Lane = Generator[Child, Ended, None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--configs", nargs="+", default=["CIFAR10"], help="folders of StudioGAN's configs, or globs such as CIFAR10/SNGAN*"
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "results" / "matrix.json", help="the results file")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "outputs" / "matrix", help="where the runs lie")
    parser.add_argument("--jobs", type=int, default=2, help="configs at a time")
    parser.add_argument("--timeout", type=float, default=180, help="seconds a run")
    parser.add_argument("--again", choices=["failed", "all"], help="run the cells of this outcome again")
    parser.add_argument("--keep", action="store_true", help="keep the runs of configs where nothing went wrong")
    parser.add_argument("--studiogan", type=Path, default=None, help="a StudioGAN; the submodule by default")
    args = parser.parse_args()  # fmt: skip
    studiogan = find_studiogan(args.studiogan)
    paths = chosen(studiogan / "src" / "configs", args.configs)
    results, start = Results(args.out), time.monotonic()
    for module in HEAVY:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    data = write_data(args.work / "data")
    sites = [Site(name_of(path), read_config(path), args.work / name_of(path), data, studiogan) for path in paths]
    for site in sites:
        if args.again is not None:
            results.forget(site.name, (*WRONG, "not run") if args.again == "failed" else (*WRONG, "not run", "passed", "refused"))
    try:
        run(sites, results, args.jobs, args.timeout, keep=args.keep)
    except KeyboardInterrupt:
        print(f"\nStopped; the same command goes on. {results.summary()}")
        return 130
    results.write_table(args.out.with_suffix(".md"))
    print(f"{results.summary()}\n{time.monotonic() - start:.0f} s. The table: {args.out.with_suffix('.md')}")
    return int(any(results.counts()[outcome] for outcome in WRONG))


def chosen(configs: Path, patterns: list[str]) -> list[Path]:
    """The config files of folders or globs.

    Raises:
        RcasError: a pattern names none.
    """
    found: set[Path] = set()
    for pattern in patterns:
        files = (
            set((configs / pattern).glob("*.yaml"))
            if (configs / pattern).is_dir()
            else set(configs.glob(f"{pattern.removesuffix('.yaml')}.yaml"))
        )
        if not files:
            raise RcasError(f"--configs: {pattern} names no config in {configs}; such as CIFAR10, or CIFAR10/SNGAN*")
        found |= files
    return sorted(found)


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def run(sites: list[Site], results: Results, jobs: int, timeout: float, *, keep: bool) -> None:
    """Go through the configs' cells, several configs at a time; each run is a process, this one only waits and judges."""
    waiting, going = list(sites), dict[str, tuple[Site, Lane, Child]]()
    bar = tqdm(total=len(sites) * len(CELLS), desc="cells", unit="cell", disable=None, smoothing=0.05)

    def show() -> None:
        bar.update(sum(len(results.row(site.name)) for site in sites) - bar.n)
        bar.set_postfix_str(", ".join(going))

    def step(site: Site, way: Lane, ended: Ended | None) -> None:
        try:
            going[site.name] = (site, way, next(way) if ended is None else way.send(ended))
        except StopIteration:
            going.pop(site.name, None)
            if not keep and not any(one.outcome in WRONG for one in results.row(site.name).values()):
                shutil.rmtree(site.root, ignore_errors=True)
        show()

    try:
        while waiting or going:
            while waiting and len(going) < jobs:
                site = waiting.pop(0)
                step(site, lane(site, results, timeout), None)
            for site, way, child in list(going.values()):
                ended = child.poll()
                if ended is not None:
                    step(site, way, ended)
            time.sleep(0.02)
    finally:
        bar.close()
        for _, _, child in going.values():
            child.kill()


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except RcasError as mistake:
        print(f"matrix: {mistake}", file=sys.stderr)
        raise SystemExit(2) from None
