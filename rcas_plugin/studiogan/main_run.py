"""A run of StudioGAN's main.py in a process of its own, by commands that stand for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from rcas_plugin.studiogan.locate import main_command


def training_command(studiogan: Path, ckpt: Path | None, data: Path, out: Path, save_freq: int, *options: str) -> list[str]:
    """The command that trains on class folders; the config is still to be named.

    HDF5 in memory: upstream resizes the images there, and reads them once.

    Args:
        studiogan: its root folder.
        ckpt: what the run starts from, or goes on with; None for a new GAN.
        data: holds train/<class>/.
        out: where the run goes.
        save_freq: steps between checkpoints, and between lines of the log.
        options: more of upstream's.
    """
    return main_command(
        studiogan, "-t", *(["-ckpt", str(ckpt)] if ckpt is not None else []), "-data", str(data), "-save", str(out), "-hdf5",
        "-l", "--pre_resizer", "lanczos", "-metrics", "none", "--print_freq", str(save_freq), "--save_freq", str(save_freq),
        *([] if torch.cuda.is_available() else ["--num_workers", "0"]), *options,
    )  # fmt: skip


def run_main(command: Sequence[str]) -> tuple[int, bool]:
    """Run a command of main.py on one GPU at the most; its exit code, and whether Ctrl-C was pressed.

    main.py gets Ctrl-C too, and saves a checkpoint.
    """
    interrupted = False
    with subprocess.Popen(command, env={**os.environ, **one_gpu(os.environ)}) as process:
        code = None
        while code is None:
            try:
                code = process.wait()
            except KeyboardInterrupt:
                interrupted = True  # the child has got it too, and is saving
    return code, interrupted


def one_gpu(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable that shows main.py the first of several GPUs alone; nothing where there is one or none.

    Without -DDP upstream would spread one process over all of them, which a swap refuses.
    """
    if torch.cuda.device_count() < 2:
        return {}
    return {"CUDA_VISIBLE_DEVICES": environment.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
