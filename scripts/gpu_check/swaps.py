"""One swap by each registered method through the real main.py, and more ways to run one; on the device and on the CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpu_check.data import NEW, SLOT, write_data
from gpu_check.main_runs import MainRuns
from gpu_check.report import Report
from gpu_check.setup import Setup
from rcas_plugin.importance.selection import Selection, overlap
from rcas_plugin.registry import phases
from rcas_plugin.studiogan.locate import find_studiogan
from rcas_plugin.watch.snapshots import load_snapshot

CLASSES = 4
LABELS = ["a", NEW, "c", "d"]
CONFIG: dict[str, dict[str, Any]] = {
    "DATA": {"name": "toy", "img_size": 32, "num_classes": CLASSES},
    "MODEL": {"backbone": "resnet", "g_cond_mtd": "cBN", "d_cond_mtd": "PD", "apply_d_sn": True, "z_dim": 8, "g_conv_dim": 4,
              "d_conv_dim": 4, "apply_g_ema": True, "g_ema_decay": 0.9, "g_ema_start": 0},
    "LOSS": {"adv_loss": "hinge"},
    "OPTIMIZATION": {"batch_size": 16, "d_updates_per_step": 1, "beta1": 0.0},
    "PRE": {"apply_rflip": False},
}  # fmt: skip
#: How near the images of one checkpoint are on two devices, in levels of 255, and the selections' overlap.
LEVELS, OVERLAP = 4, 0.95
#: Runs of a rehearsal, which has seconds.
REHEARSED = ("bn_propagation",)


def run(setup: Setup, report: Report) -> None:
    runs = MainRuns(setup, find_studiogan(), setup.work / "swaps")
    steps = 2 if setup.reduced else 20
    old, both = write_data(setup.work / "data", CLASSES, 6 if setup.reduced else 40)
    report.put("pre-train", runs.run("pre-train", _config(steps), old, _options(steps)))
    if report.figures["pre-train"]["exit_code"] != 0:
        report.check(False, "the pre-training failed, and nothing can be swapped")
        return
    pretrained = runs.checkpoint("pre-train")

    def swap(name: str) -> tuple[str, dict[str, Any]]:
        section, options, device = wanted[name]
        config = {**_config(steps), "RCAS": section}
        return name, runs.run(name, config, both, [*_options(steps), *options], ckpt=pretrained, device=device)

    wanted = _wanted(setup, steps)
    with ThreadPoolExecutor(setup.jobs) as pool:
        for name, row in pool.map(swap, wanted) if setup.jobs > 1 else map(swap, wanted):
            report.put(name, row)
            _check(report, name, row, steps)
    _interrupted(runs, report, both, pretrained, steps)
    if "rcas" in wanted:
        _compare(runs, report)


def _config(steps: int) -> dict[str, dict[str, Any]]:
    return {**CONFIG, "OPTIMIZATION": {**CONFIG["OPTIMIZATION"], "total_steps": steps}}


def _options(steps: int) -> list[str]:
    return ["--num_workers", "0", "--print_freq", str(steps), "--save_freq", str(steps)]


def _section(method: str, **keys: Any) -> dict[str, Any]:
    return {
        "method": method, "swap": {SLOT: NEW}, "snapshot_images": 4, "swap_metrics": 0, "label_start": {"iterations": 4}, **keys
    }  # fmt: skip


def _wanted(setup: Setup, steps: int) -> dict[str, tuple[dict[str, Any], list[str], str]]:
    """Name of a run -> its RCAS section, options of main.py, device."""
    own: dict[str, dict[str, Any]] = {"bn_propagation": {"stages": {"bn": steps // 2, "ft": steps - steps // 2}}}
    plain = _section("class_swap", preset="rcas", importance={"samples": 64}, label_start={"how": "keep"})
    found: dict[str, tuple[dict[str, Any], list[str], str]] = {
        method: (_section(method, **own.get(method, {})), [], setup.device) for method in sorted(phases)
    }
    found |= {
        "rcas": (plain, [], setup.device),
        "rcas on the CPU": (plain, [], "cpu"),
        "accelerate": (_section("class_swap", accelerate=True), ["--num_workers", "2"], setup.device),
        "mixed precision": (_section("class_swap"), ["-mpc"], setup.device),
        "bn_propagation in mixed precision": (_section("bn_propagation", **own["bn_propagation"]), ["-mpc"], setup.device),
        "HDF5 in memory, judged": (_section("class_swap", swap_metrics=50), ["-hdf5", "-l"], setup.device),
    }
    return {name: found[name] for name in REHEARSED} if setup.reduced else found


def _check(report: Report, name: str, row: dict[str, Any], step: int) -> None:
    if row["exit_code"] != 0:
        report.check(False, f"{name}: exit code {row['exit_code']}")
        return
    report.check(row["step"] == step, f"{name}: it ended after step {row['step']}, not {step}")
    report.check(row["labels"] == LABELS, f"{name}: the labels are {row['labels']}, not {LABELS}")
    report.check(row["finite"], f"{name}: a weight is not finite")


def _interrupted(runs: MainRuns, report: Report, data: Path, pretrained: Path, steps: int) -> None:
    """Ctrl-C in the middle, and the same command with more steps on the run's own folder."""
    name, section = "interrupted", {"RCAS": _section("class_swap")}
    code = runs.interrupt(name, {**_config(10**6), **section}, data, _options(2), pretrained)
    if code != 130:
        report.put(name, {"exit_code": code, "last_lines": runs.said(name)})
        report.check(False, f"{name}: exit code {code}, not 130")
        return
    stopped = runs.step(name)
    last = (stopped // steps + 1) * steps  # a checkpoint is saved at its multiples
    row = runs.run(name, {**_config(last), **section}, data, _options(steps), ckpt=runs.checkpoint(name))
    report.put(name, {"stopped_after": stopped, **row})
    _check(report, name, row, last)


def _compare(runs: MainRuns, report: Report) -> None:
    """The same swap of the same checkpoint on both devices: labels, what was selected, images before it."""
    names = ("rcas", "rcas on the CPU")
    if any(report.figures[name]["exit_code"] != 0 for name in names):
        return
    folders = [runs.checkpoint(name) for name in names]
    shared = overlap(*(Selection.load(folder / "selection.safetensors") for folder in folders))
    first, second = (load_snapshot(folder, "before")[0] for folder in folders)
    levels = (first - second).abs() * 127.5
    report.put("beside the CPU", {
        "selection_overlap": shared, "images_largest_difference_in_levels": round(float(levels.max()), 2),
        "images_mean_difference_in_levels": round(float(levels.mean()), 4),
    })  # fmt: skip
    report.check(shared >= OVERLAP, f"the selections of both devices share {shared:.1%}; wanted: {OVERLAP:.0%}")
    report.check(float(levels.max()) <= LEVELS, f"images of one checkpoint differ by {float(levels.max()):.1f} levels of 255")
