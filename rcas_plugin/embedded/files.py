"""The files of a run of the embedded networks, named and laid out as upstream's."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rcas_plugin.checkpoints.folder import write_checkpoint
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR
from rcas_plugin.run.random_state import DataPosition, save_random_state


def new_folder(save_dir: str | Path, config: Mapping[str, Any], cfg_file: str | Path, phase: str) -> Path:
    """Named as upstream names a run's checkpoint folder."""
    stamp = datetime.datetime.now().strftime("%Y_%m_%d_%H_%M_%S")
    return Path(save_dir) / "checkpoints" / f"{config['DATA']['name']}-{Path(cfg_file).stem}-{phase}-{stamp}"


def write_states(folder: Path, loop: Loop, step: int, seed: int, *, best: bool) -> None:
    """Write a checkpoint in upstream's layout (`src/worker.py`, save), as the newest, and if wanted as the best too."""
    gan, sources = loop.gan, loop.random_sources
    states = {
        "G": {"state_dict": gan.generator.state_dict(), "optimizer": loop.optimizers[GENERATOR].state_dict()},
        "D": {"state_dict": gan.discriminator.state_dict(), "optimizer": loop.optimizers[DISCRIMINATOR].state_dict(),
              "seed": seed, "run_name": folder.name, "step": step, "epoch": 0, "topk": loop.batch_size, "aa_p": None,
              "best_step": step, "best_fid": None, "best_fid_ckpt": str(folder), "lecam_emas": None},
        **({"G_ema": {"state_dict": gan.ema.state_dict()}} if gan.ema is not None else {}),
    }  # fmt: skip
    for when in ("current", "best") if best else ("current",):
        for network, state in states.items():
            write_checkpoint(folder, network, when, step, _on_cpu(state))
    save_random_state(folder, 0, step, sources, DataPosition(), loop.device)


def _on_cpu(state: Any) -> Any:
    """The same dictionaries and lists, with every tensor on the CPU: a checkpoint is read where there is no GPU too."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, dict):
        moved = copy.copy(state)  # with the versions that a state_dict bears as an attribute
        moved.update((key, _on_cpu(value)) for key, value in state.items())
        return moved
    return [_on_cpu(value) for value in state] if isinstance(state, list) else state
