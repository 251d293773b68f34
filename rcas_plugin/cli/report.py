"""`rcas report`: one page of swaps."""

from __future__ import annotations

import argparse
from pathlib import Path

from rcas_plugin.report.page import REPORT, write_report
from rcas_plugin.report.runs import find_runs
from rcas_plugin.report.verdict import verdict


def add_report(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas report` its arguments."""
    more = "Several runs are drawn side by side; those that differ only in the seed become one line with its interval."
    command.description = f"{command.description}. {more}"
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN",
                         help="checkpoint folder of a swap, or a -save folder with checkpoints/ of several")  # fmt: skip
    where = "where report.html and its PNG files go (default: RUN/report for one run, ./report for several)"
    command.add_argument("-o", "--out", type=Path, default=None, metavar="DIR", help=where)
    command.set_defaults(run=report)


def report(args: argparse.Namespace) -> int:
    """Write a report and print its verdict; returns exit code 0."""
    runs = find_runs(args.runs)
    out = args.out or (runs[0].folder / REPORT if len(runs) == 1 else Path(REPORT))
    page = write_report([run.folder for run in runs], out)
    for run in runs:
        print(f"{run.folder.name}: {verdict(run)}")
    print(page)
    return 0
