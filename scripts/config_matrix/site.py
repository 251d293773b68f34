"""Where one config's runs lie, and what is read from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from config_matrix.main_run import run_main
from config_matrix.reduction import ADDED, NEW, SLOT, is_conditional, reduce_config

TRAIN = ("-t", "-metrics", "none", "--num_workers", "0", "--print_freq", "1", "--seed", "1")
STEPS, MORE = 2, 4  # a run, and what it goes on to
COMMON = {"snapshot_images": 4, "swap_metrics": 0}
#: Keys of class_swap alone.
CLASS_SWAP = {"label_start": {"iterations": 4}, "importance": {"samples": 10, "memory_mb": 64}}


@dataclass(frozen=True)
class Site:
    """One config: its content as shipped, a folder for its runs, the data, the StudioGAN.

    Attributes:
        name: folder and name of the config, such as CIFAR10/SNGAN.
        config: its sections as shipped.
        root: a folder of its own; a cell's files lie in a folder of the cell's name.
        data: what `data.write_data` has written.
        studiogan: the root of a StudioGAN.
    """

    name: str
    config: dict[str, dict[str, Any]]
    root: Path
    data: Path
    studiogan: Path

    @property
    def conditional(self) -> bool:
        return is_conditional(self.config)

    @property
    def old_data(self) -> Path:
        return self.data / ("one" if self.config["DATA"].get("num_classes", 10) == 1 else "old")

    def folder(self, cell: str) -> Path:
        return self.root / cell.replace(" ", "-")

    def log(self, cell: str) -> Path:
        return self.root / "logs" / f"{cell.replace(' ', '-')}.log"

    def probe(self, cell: str) -> Path:
        """What `main_run` has seen at the start of the cell's run."""
        return self.folder(cell) / "probe.pt"

    def checkpoint(self, cell: str) -> Path | None:
        """The only checkpoint folder of a cell, or None."""
        folders = sorted(self.folder(cell).glob("checkpoints/*"))
        return folders[0] if len(folders) == 1 else None

    def pretrained(self) -> Path:
        """The pre-trained checkpoint, of as many steps as it has come to."""
        for cell in ("pre-train on", "pre-train"):
            folder = self.checkpoint(cell)
            if folder is not None and step_of(folder) == (MORE if cell == "pre-train on" else STEPS):
                return folder
        raise FileNotFoundError(f"no pre-trained checkpoint in {self.root}")

    def train(
        self, cell: str, data: Path, ckpt: Path | None, *, steps: int = STEPS, labels: int = 0, save_freq: int = 2,
        rcas: dict[str, Any] | None = None,
    ) -> Callable[[], None]:  # fmt: skip
        """A training run of main.py, for a process of its own; its config is written now."""
        content = reduce_config(self.config, steps)
        content["DATA"]["num_classes"] += labels
        if rcas is not None:
            content["RCAS"] = {**COMMON, **rcas}
        config = self.root / "configs" / f"{cell.replace(' ', '-')}.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(yaml.safe_dump(content), encoding="utf-8")
        options: list[Any] = [*TRAIN, "--save_freq", save_freq, "-cfg", config, "-data", data, "-save", self.folder(cell)]
        if ckpt is not None:
            options += ["-ckpt", ckpt]
        probe = self.probe(cell) if ckpt is not None else None
        return lambda: run_main(self.studiogan, options, probe)

    def go_on(self, cell: str, of: str, data: Path, rcas: dict[str, Any] | None = None) -> Callable[[], None]:
        """More steps of another cell's run, in a copy of its folder."""
        shutil.copytree(self.folder(of), self.folder(cell))
        self.probe(cell).unlink(missing_ok=True)
        return self.train(cell, data, self.checkpoint(cell), steps=MORE, rcas=rcas)


def swap_section(**keys: Any) -> dict[str, Any]:
    """An RCAS section of class_swap, or of a method without keys of its own, that puts the new class into the slot."""
    more = CLASS_SWAP if keys.get("method", "class_swap") == "class_swap" else {}
    return {"swap": {SLOT: NEW}, **more, **keys}


def propagation_section(stages: dict[str, int], *, add: bool = False) -> dict[str, Any]:
    """A section of bn_propagation: the slot's class swapped, or one added."""
    section = {"method": "bn_propagation", "label_start": {"iterations": 4}, "stages": stages}
    return {**section, "add": [ADDED]} if add else {**section, "swap": {SLOT: NEW}}


def step_of(folder: Path) -> int:
    """The step of a checkpoint, from its files' names; -1 where there are none."""
    steps = [int(path.stem.partition("step=")[2]) for path in folder.glob("model=D-current-weights-step=*.pth")]
    return max(steps, default=-1)


def generator_states(folder: Path) -> dict[str, dict[str, Any]]:
    """The state dicts of G and of its moving average in a checkpoint folder."""
    states = {}
    for network in ("G", "G_ema"):
        for path in folder.glob(f"model={network}-current-weights-step=*.pth"):
            states[network] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return states
