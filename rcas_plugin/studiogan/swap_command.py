"""`rcas swap`: the common case in one command. It finds the checkpoint's config, writes the swap's, and runs main.py."""

from __future__ import annotations

import copy
import math
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from rcas_plugin.dataset import folder_classes
from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.checkpoints import checkpoint_files, read_checkpoint, read_record
from rcas_plugin.studiogan.locate import main_command

#: Steps of a swap for each step of the pre-training, where --steps says nothing else.
SHARE = 0.2
#: How often a checkpoint is saved.
SAVES = 10


@dataclass(frozen=True)
class SwapPlan:
    """What `rcas swap` is about to do.

    Attributes:
        config: the swap's StudioGAN config.
        path: where it is written.
        command: runs it.
        sentences: what the user is told first.
        done: whether the swap ended before; there is nothing to do.
    """

    config: dict[str, Any]
    path: Path
    command: list[str]
    sentences: tuple[str, ...]
    done: bool


def plan_swap(
    studiogan: Path,
    ckpt: Path,
    data: Path,
    slot: str,
    new: str,
    out: Path,
    *,
    cfg: Path | None = None,
    method: str = "class_swap",
    steps: int | None = None,
    new_data: Path | None = None,
    accelerate: bool = False,
) -> SwapPlan:
    """Work out config and command of a swap; nothing is written.

    Args:
        studiogan: its root folder.
        ckpt: the pre-trained checkpoint's folder.
        data: the data set's folder, which holds train/<class>/.
        slot: the label that is given up: a recorded class name, or an index.
        new: the new class: a folder name, or an index.
        out: where the swap's config and runs go; the same one again goes on with an interrupted swap.
        cfg: the config that trained the checkpoint; by default the recorded one, or StudioGAN's own of the run's name.
        method: `RCAS.method`.
        steps: of the swap; by default a fifth of the pre-training's.
        new_data: a folder of the new class's images, where they are not in `data`.
        accelerate: `RCAS.accelerate`.

    Raises:
        RcasError: the checkpoint, its config or the data are not there.
    """
    record = read_record(ckpt)
    content = read_checkpoint(checkpoint_files(ckpt)["D"])
    config = copy.deepcopy(_config(studiogan, ckpt, record, str(content.get("run_name", "")), cfg))
    section: dict[str, Any] = {
        "method": method,
        "swap": {_reference(slot, record.get("labels") or ()): _reference(new, _folders(data) if new_data is None else (new,))},
    }
    if new_data is not None:
        section["new_data"] = str(new_data.resolve())
    if accelerate:
        section["accelerate"] = True
    parse_settings(section)
    options = config.setdefault("OPTIMIZATION", {})
    before = int(options.get("total_steps", 0))
    total = steps if steps is not None else math.ceil(SHARE * before / 100) * 100
    if total < 1:
        raise RcasError("--steps is missing; the config does not say how long the pre-training was")
    config["RCAS"], options["total_steps"] = section, total

    run = interrupted_run(out, ckpt)
    step = 0 if run is None else int(read_checkpoint(checkpoint_files(run)["D"])["step"])
    # upstream makes one step more than it was asked for, and saves that too where each step is saved
    path, save_freq = out / "swap.yaml", max(2, total // SAVES)
    # HDF5 in memory: upstream resizes the images there, and reads them once
    command = main_command(
        studiogan, "-t", "-cfg", str(path), "-ckpt", str(run or ckpt), "-data", str(data), "-save", str(out), "-hdf5", "-l",
        "--pre_resizer", "lanczos", "-metrics", "none", "--print_freq", str(save_freq), "--save_freq", str(save_freq),
        *([] if torch.cuda.is_available() else ["--num_workers", "0"]),
    )  # fmt: skip
    sentences = [f"{method}: label {slot} of {ckpt} becomes {new}, in {total} steps; it goes to {out}"]
    if run is not None:
        sentences.append(f"goes on after step {step}, in {run}")
    seconds = record.get("seconds_per_step")
    if seconds and step < total:
        left = (total - step) * float(seconds)
        sentences.append(
            f"about {_minutes(left)} at the {float(seconds):.2g} s a step of the pre-training; an added loss takes longer"
        )
    return SwapPlan(config, path, command, tuple(sentences), done=run is not None and step >= total)


def run_swap(plan: SwapPlan) -> int:
    """Write the config and run main.py; its exit code. Ctrl-C reaches main.py, which saves a checkpoint."""
    with atomic_path(plan.path) as temporary:
        temporary.write_text(yaml.safe_dump(plan.config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    with subprocess.Popen(plan.command) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the child has got it too, and is saving


def shown(plan: SwapPlan) -> str:
    """The config and the command, as `--dry-run` prints them."""
    text = yaml.safe_dump(plan.config, sort_keys=False, allow_unicode=True)
    return f"# {plan.path}\n{text}\n{shlex.join(plan.command)}"


def interrupted_run(out: Path, ckpt: Path) -> Path | None:
    """The newest run in `out` that started from `ckpt`, or None."""
    source = str(ckpt.resolve())
    runs = [folder for folder in (out / "checkpoints").glob("*") if read_record(folder).get("source") == source]
    return max(runs, key=lambda folder: folder.stat().st_mtime, default=None)


def _config(studiogan: Path, ckpt: Path, record: Mapping[str, Any], run_name: str, cfg: Path | None) -> dict[str, Any]:
    if cfg is None and isinstance(record.get("config"), dict):
        return dict(record["config"])
    if cfg is None:  # upstream names a run after its data set and its config file
        found = [path for path in (studiogan / "src" / "configs").rglob("*.yaml")
                 if run_name.startswith(f"{path.parent.name}-{path.stem}-")]  # fmt: skip
        cfg = max(found, key=lambda path: len(path.stem), default=None)
    if cfg is None:
        raise RcasError(f"--cfg is missing; {ckpt} does not record the config that trained it, give that file")
    try:
        content = yaml.safe_load(cfg.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RcasError(f"--cfg: {cfg} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise RcasError(f"--cfg: {cfg} is no StudioGAN config; it holds sections (DATA:, MODEL:, …) of keys")
    content.pop("RCAS", None)
    return content


def _folders(data: Path) -> tuple[str, ...]:
    root = data / "train"
    if not root.is_dir():
        raise RcasError(f"--data: {data} holds no train/<class>/ folders")
    return folder_classes(root).names


def _reference(given: str, names: Any) -> int | str:
    """A class by name where there is one of that name, else by index, as `RCAS.swap` has it."""
    return int(given) if given not in names and given.isdigit() else given


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
