"""The best checkpoint of a run, in upstream's layout, made of the newest one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint, step_of, write_checkpoint
from rcas_plugin.errors import RcasError


def keep_best(folder: str | Path, step: int, generator: Mapping[str, Any] | None = None) -> bool:
    """Keep the newest checkpoint as the best one: StudioGAN's `-best` then loads it (`src/utils/ckpt.py`).

    The best checkpoint before it goes once all files are there: a process that is killed in between leaves a whole one.

    Args:
        folder: of the run.
        step: of the newest checkpoint.
        generator: a state dict of G in place of the checkpoint's, such as the average of its weights.

    Returns:
        False where the newest checkpoint is of another step; nothing is written then.
    """
    files = checkpoint_files(folder)
    if any(step_of(path) != step for path in files.values()):
        return False
    contents = {network: read_checkpoint(path) for network, path in files.items()}
    contents["D"] = {**contents["D"], "best_step": step, "best_fid_ckpt": str(folder)}
    if generator is not None:
        contents["G"] = {**contents["G"], "state_dict": generator}
    for network in sorted(contents, key=lambda network: network == "D"):  # so that a first one with G and D has the average too
        write_checkpoint(folder, network, "best", step, contents[network])
    return True


def kept_step(folder: str | Path) -> int | None:
    """The step of the best checkpoint in a folder; None where there is no whole one: the one rule for whether there is one.

    A process that was killed in the first `keep_best` leaves some of its files; the newest checkpoint then stands for it.
    """
    try:
        steps = {step_of(path) for path in checkpoint_files(folder, best=True).values()}
    except RcasError:
        return None
    return steps.pop() if len(steps) == 1 else None
