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


@dataclass(frozen=True)
class RandomState:
    """The random state of a process at a save.

    Attributes:
        data: the position in the data.
        tensors: the states of the sources, as `save_random_state` names them.
        numpy: the rest of numpy's: position, whether a normal is left over, and which.
        python: the rest of Python's: version, and the normal that is left over.
    """

    data: DataPosition
    tensors: Mapping[str, Tensor]
    numpy: tuple[int, int, float]
    python: tuple[int, float | None]

    def draw_on(self, device: torch.device) -> None:
        """Set torch's, numpy's and Python's sources, right before the first step."""
        torch.set_rng_state(self.tensors["torch"])
        if "cuda" in self.tensors and device.type == "cuda":
            torch.cuda.set_rng_state(self.tensors["cuda"], device)
        np.random.set_state(("MT19937", self.tensors["numpy"].numpy().astype(np.uint32), *self.numpy))
        version, gauss = self.python
        random.setstate((version, tuple(self.tensors["python"].tolist()), gauss))


def load_random_state(folder: Path, rank: int, step: int, sources: Mapping[str, torch.Generator]) -> RandomState | None:
    """Read the state of a save and set the further sources; the process's own wait for `RandomState.draw_on`.

    Args:
        folder: of the run.
        rank: of this process.
        step: of the checkpoint that the run goes on from.
        sources: set in place, where the file has their names.

    Returns:
        The state; None where there is no file of this step, and draws begin anew.
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
        position, has_gauss, cached = about["numpy"][1:]
        version, gauss = about["python"]
        return RandomState(DataPosition(about["epoch"], about["drawn"]), tensors, (position, has_gauss, cached), (version, gauss))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        return None
