"""The quickstart: a small GAN on scikit-learn's digits 1 to 9, then 9 swapped for 0 by class_swap and by fine_tune.

With a StudioGAN at hand it runs StudioGAN's main.py; without one, the embedded networks. Everything goes to outputs/quickstart/.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from rcas_plugin import RcasError
from rcas_plugin.embedded import loop as embedded
from rcas_plugin.files import write_json
from rcas_plugin.report.page import REPORT, write_report
from rcas_plugin.report.pictures import draw_before_after
from rcas_plugin.report.runs import Run
from rcas_plugin.report.verdict import verdict
from rcas_plugin.studiogan.locate import REPOSITORY, find_studiogan, main_command
from rcas_plugin.studiogan.patching import install
from rcas_plugin.watch.machine import describe_run
from rcas_plugin.watch.snapshots import load_snapshot, moments

CONFIGS = REPOSITORY / "configs" / "digits"
OUT = REPOSITORY / "outputs" / "quickstart"
METHODS = ("class_swap", "fine_tune")
OLD, NEW = 9, 0
SAVE_FREQ = 25

#: (config's name, data, checkpoint folder or None, save_freq) -> checkpoint folder
Runner = Callable[[str, Path, Path | None, int], Path]


def write_digits() -> None:
    """The digits as image folders: data/old has 1 to 9, data/new has 0 to 8 as well as the obsolete 9."""
    digits = load_digits()
    for name, kept in (("old", range(1, 10)), ("new", range(10))):
        for index in np.flatnonzero(np.isin(digits.target, kept)):
            folder = OUT / "data" / name / "train" / str(digits.target[index])
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((digits.images[index] * 255 / 16).astype(np.uint8)).save(folder / f"{index:04d}.png")


def studiogan_runner(studiogan: Path) -> Runner:
    """Runs StudioGAN's own main.py, its output in a log file, its progress bar on the terminal."""

    def run(config: str, data: Path, ckpt: Path | None, save_freq: int) -> Path:
        options = ["-t", "-cfg", str(CONFIGS / f"{config}.yaml"), "-data", str(data), "-save", str(OUT)]
        options += ["-hdf5", "-l", "--pre_resizer", "lanczos", "-metrics", "none", "--num_workers", "0", "--seed", "0"]
        options += ["--print_freq", str(save_freq), "--save_freq", str(save_freq)]
        if ckpt is not None:
            options += ["-ckpt", str(ckpt)]
        log = OUT / f"{config}.log"
        with log.open("w") as file:
            ended = subprocess.run(main_command(studiogan, *options), stdout=file, check=False)
        if ended.returncode:
            raise RcasError(f"{config}: main.py ended with exit code {ended.returncode}; its output is in {log}")
        return next((OUT / "checkpoints").glob(f"*-{config}-*"))

    return run


def embedded_runner(config: str, data: Path, ckpt: Path | None, save_freq: int) -> Path:
    """Runs the same config on the embedded networks."""
    return embedded.train(CONFIGS / f"{config}.yaml", data, OUT, ckpt, save_freq=save_freq)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studiogan", type=Path, default=None, help="a StudioGAN; the submodule by default")
    parser.add_argument("--embedded", action="store_true", help="use the embedded networks even where StudioGAN is")
    args = parser.parse_args()
    start = time.perf_counter()
    runner: Runner = embedded_runner
    studiogan = None
    if not args.embedded:
        try:
            studiogan = find_studiogan(args.studiogan)
            install(studiogan)
            runner = studiogan_runner(studiogan)
        except RcasError as error:
            studiogan = None
            print(f"Running on the embedded networks: {error}", flush=True)
    if studiogan is not None:
        print(f"Running StudioGAN's main.py in {studiogan}", flush=True)

    shutil.rmtree(OUT, ignore_errors=True)
    write_digits()
    print("Pre-training on digits 1 to 9, then swapping 9 for 0 by " + " and by ".join(METHODS), flush=True)
    pretrained = runner("pretrain", OUT / "data" / "old", None, 1200)
    runs = {method: runner(method, OUT / "data" / "new", pretrained, SAVE_FREQ) for method in METHODS}
    draw(runs)
    page = write_report(list(runs.values()), OUT / REPORT)
    found = {method: Run.read(run) for method, run in runs.items()}
    write_json(OUT / "metrics.json", {
        **describe_run(), "engine": "studiogan" if studiogan else "embedded", "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(processor_seconds(), 1),
        "checkpoints": {"pretrain": _short(pretrained), **{method: _short(run) for method, run in runs.items()}},
        "swap_metrics": {method: _in_short(run.metrics) for method, run in found.items()}})  # fmt: skip

    print("\n| | new class recognised in the slot | old class left | remaining labels recognised | distance to the new class |")
    print("| --- | --- | --- | --- | --- |")
    for method, run in found.items():
        for step in sorted({0, run.kept_step, max(run.steps)}):
            at, kept = run.steps[step], ", kept as the best" if step == run.kept_step else ""
            print(f"| {method}, step {step}{kept} | {at['new']['recognised']:.0%} | {at['old']['left']:.0%} "
                  f"| {at['remaining']['recognised']:.0%} | {at['new']['frechet_distance']:.1f} |")  # fmt: skip
    for method, run in found.items():
        print(f"\n{method}: {verdict(run)}")
    print(
        f"\n{time.perf_counter() - start:.0f} s, {processor_seconds():.0f} s of processor time. Open the report: {_short(page)}"
    )


def processor_seconds() -> float:
    """The processor's seconds so far, of this process and of the runs that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _in_short(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a run without those of every single label."""
    parts = ("elapsed_s", "evaluation_s", "new", "old", "remaining")
    return {
        "judge": metrics["judge"],
        "images_a_label": metrics["images_a_label"],
        "best": metrics.get("best"),
        "steps": {step: {part: found[part] for part in parts} for step, found in metrics["steps"].items()},
    }


def draw(runs: Mapping[str, Path]) -> None:
    """before_after.png: both methods side by side, of the same latents."""
    swap, tuned = runs["class_swap"], runs["fine_tune"]
    draw_before_after(
        OUT / "before_after.png",
        {
            "before": load_snapshot(swap, "before"),
            "class_swap: before fine-tuning": load_snapshot(swap, "reinit"),
            "class_swap: fine-tuned": load_snapshot(swap, list(moments(swap).values())[-1]),
            "fine_tune: fine-tuned": load_snapshot(tuned, list(moments(tuned).values())[-1]),
        },
        {**{label: f"label {label + 1}" for label in range(8)}, 8: f"slot {OLD} → {NEW}"},
    )


def _short(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


if __name__ == "__main__":
    try:
        main()
    except RcasError as mistake:
        print(f"quickstart: {mistake}", file=sys.stderr)
        raise SystemExit(2) from None
