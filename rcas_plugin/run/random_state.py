"""The random state of a run at a save, with which a run that goes on draws like one that was not interrupted.

Beside a checkpoint each process keeps `resume-rank=R.safetensors`: the states of torch's, numpy's and Python's sources, those of
the method and the engine, and how much of the data's present epoch was drawn. No code is in it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rcas_plugin.files import atomic_path


def random_state_file(folder: Path, rank: int) -> Path:
    """The path of one process's file in a run's folder."""
    return folder / f"resume-rank={rank}.safetensors"


@dataclass(frozen=True)
class DataPosition:
    """The position of a run in its data.

    Attributes:
        epoch: the present epoch, from 0.
        drawn: batches of it that were drawn.
    """

    epoch: int = 0
    drawn: int = 0


def save_random_state(
    folder: Path, rank: int, step: int, sources: Mapping[str, torch.Generator], data: DataPosition, device: torch.device
) -> None:
    """Write the present state of every source of randomness.

    Args:
        folder: of the run.
        rank: of this process.
        step: the steps of training done.
        sources: further sources by name: the method's, the engine's.
        data: how far the run is in its data.
        device: of the networks; a GPU's own source is kept as well.
    """
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = cast("tuple[str, Any, int, int, float]", np.random.get_state(legacy=True))
    tensors = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(keys.astype(np.int64)),
        "python": torch.tensor(internal, dtype=torch.int64),
        **({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}),
        **{f"source.{name}": source.get_state() for name, source in sources.items()},
    }
    about = {
        "step": step, "epoch": data.epoch, "drawn": data.drawn, "python": [version, gauss],
        "numpy": [name, int(position), int(has_gauss), float(cached)],
    }  # fmt: skip
    with atomic_path(random_state_file(folder, rank)) as temporary:
        save_file(tensors, temporary, metadata={"rcas": json.dumps(about)})


def load_random_state(
    folder: Path, rank: int, step: int, sources: Mapping[str, torch.Generator], device: torch.device
) -> tuple[DataPosition, Mapping[str, Tensor]] | None:
    """Read the states of a save and set the further sources; `draw_on` sets the process's own, once the first step is next.

    Args:
        folder: of the run.
        rank: of this process.
        step: of the checkpoint that the run goes on from.
        sources: set in place, where the file has their names.
        device: of the networks.

    Returns:
        How far the run was in its data and what `draw_on` takes; None where there is no file of this step, and draws begin anew.
    """
    try:
        with safe_open(random_state_file(folder, rank), "pt") as file:
            about = json.loads((file.metadata() or {})["rcas"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        if about["step"] != step:
            return None
        for name, source in sources.items():
            if f"source.{name}" in tensors:
                source.set_state(tensors[f"source.{name}"])
        position = DataPosition(int(about["epoch"]), int(about["drawn"]))
        tensors["about.numpy"] = torch.tensor(about["numpy"][1:], dtype=torch.float64)
        tensors["about.python"] = torch.tensor([about["python"][0]], dtype=torch.int64)
        if about["python"][1] is not None:
            tensors["about.gauss"] = torch.tensor([about["python"][1]], dtype=torch.float64)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        return None
    return position, tensors


def draw_on(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Set torch's, numpy's and Python's sources to the states that `load_random_state` read."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], device)
    position, has_gauss, cached = tensors["about.numpy"].tolist()
    np.random.set_state(("MT19937", tensors["numpy"].numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    gauss = float(tensors["about.gauss"]) if "about.gauss" in tensors else None
    random.setstate((int(tensors["about.python"]), tuple(tensors["python"].tolist()), gauss))
