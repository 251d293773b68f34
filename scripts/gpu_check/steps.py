"""Step times and peak memory of one of StudioGAN's own configs, with the class_swap loss and without, accelerated and not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config_matrix.reduction import read_config, reduce_config

from gpu_check.data import NEW, SLOT, write_data
from gpu_check.main_runs import MainRuns
from gpu_check.report import Report
from gpu_check.setup import Setup
from rcas_plugin.studiogan.locate import find_studiogan

CONFIG = "CIFAR10/BigGAN"
BATCH, STEPS = 64, 40

Ways = dict[str, tuple[str, dict[str, Any], list[str]]]
#: Name -> method, keys of its section, options of main.py.
WAYS: Ways = {
    "fine_tune": ("fine_tune", {}, []),
    "class_swap": ("class_swap", {}, []),
    "fine_tune, accelerate": ("fine_tune", {"accelerate": True}, []),
    "class_swap, accelerate": ("class_swap", {"accelerate": True}, []),
    "fine_tune, mixed precision": ("fine_tune", {}, ["-mpc"]),
    "class_swap, mixed precision": ("class_swap", {}, ["-mpc"]),
}
REHEARSED = ("class_swap, accelerate",)


def run(setup: Setup, report: Report) -> None:
    runs = MainRuns(setup, find_studiogan(), setup.work / "steps")
    steps = 2 if setup.reduced else STEPS
    config = _config(runs.studiogan, steps, reduced=setup.reduced)
    report.put("config", {"name": CONFIG, "batch_size": config["OPTIMIZATION"]["batch_size"], "reduced": setup.reduced})
    old, both = write_data(setup.work / "data of steps", config["DATA"]["num_classes"], 6 if setup.reduced else 64)
    workers = "0" if setup.reduced else "2"
    options = ["-hdf5", "-l", "--num_workers", workers, "--print_freq", str(steps), "--save_freq", str(steps)]
    report.put("pre-train", runs.run("pre-train", config, old, options))
    if report.figures["pre-train"]["exit_code"] != 0:
        report.check(False, "the pre-training failed, and no step can be timed")
        return
    for name in REHEARSED if setup.reduced else WAYS:
        method, keys, more = WAYS[name]
        section = {"method": method, "swap": {SLOT: NEW}, "snapshot_images": 0, "swap_metrics": 0,
                   "label_start": {"iterations": 4}, **keys}  # fmt: skip
        row = runs.run(name, {**config, "RCAS": section}, both, [*options, *more], ckpt=runs.checkpoint("pre-train"))
        report.put(name, row)
        report.check(row["exit_code"] == 0, f"{name}: exit code {row['exit_code']}")
        report.check(row.get("finite", False), f"{name}: a weight is not finite")
    report.put("of fine_tune's step", _ratios(report.figures))


def _config(studiogan: Path, steps: int, *, reduced: bool) -> dict[str, dict[str, Any]]:
    """The config as shipped but for data and batch; in a rehearsal with small widths."""
    shipped = read_config(studiogan / "src" / "configs" / f"{CONFIG}.yaml")
    if reduced:
        return reduce_config(shipped, steps)
    return {
        **shipped,
        "DATA": {**shipped["DATA"], "name": "toy"},
        "OPTIMIZATION": {**shipped["OPTIMIZATION"], "batch_size": BATCH, "total_steps": steps},
    }


def _ratios(figures: dict[str, Any]) -> dict[str, float]:
    """Seconds a step of each way, of plain fine-tuning's."""
    plain = figures.get("fine_tune", {}).get("step_seconds")
    seconds = {name: figures.get(name, {}).get("step_seconds") for name in WAYS}
    return {name: round(value / plain, 3) for name, value in seconds.items() if value and plain}
