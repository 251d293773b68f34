"""What `main.py --plugin rcas` calls first, before upstream imports anything heavy.

Order: early cures -> upstream is imported -> seams are checked -> late cures -> wrappers into the seams. A process that a
distributed run spawns does the same before it unpickles upstream's config: `DistributedWorker` sees to it.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import torch

from rcas_plugin.studiogan.cures import apply_cures
from rcas_plugin.studiogan.seams import check_seams, replace
from rcas_plugin.studiogan.stop import stop_with_a_sentence


@stop_with_a_sentence
def activate(source: str | Path | None = None) -> None:
    """Make the StudioGAN at `source` (its `src` folder; by default the one on `sys.path`) run under the plugin.

    Without an `RCAS` section in its config, StudioGAN then runs as itself with the cures alone. Safe to call again.
    """
    if source is not None and str(source) not in sys.path:
        sys.path.insert(0, str(source))
    cpu = not torch.cuda.is_available()
    apply_cures("early", cpu=cpu)
    if "-DDP" in sys.argv or "--distributed_data_parallel" in sys.argv:
        _default_rendezvous()
    from rcas_plugin.studiogan import wiring

    check_seams()
    apply_cures("late", cpu=cpu)
    wiring.wire()
    replace("loader.load_worker", "process", lambda original: DistributedWorker())


def _default_rendezvous() -> None:
    """Let the processes of one machine find each other unless MASTER_ADDR and MASTER_PORT are set."""
    if "MASTER_PORT" not in os.environ:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ["MASTER_PORT"] = str(free.getsockname()[1])
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")


class DistributedWorker:
    """Stands for `loader.load_worker`, in this process or in one that is spawned.

    It is pickled as a call of `_activated_worker`, so a spawned process is cured and wired before upstream's config, which comes
    after it in the same pickle, is read.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _activated_worker, (source_folder(),)

    @stop_with_a_sentence
    def __call__(self, local_rank: int, cfgs: Any, gpus_per_node: int, run_name: str, hdf5_path: str | None) -> None:
        from rcas_plugin.studiogan import wiring
        from rcas_plugin.studiogan.active import RUN

        RUN.adopt(cfgs)
        wiring.start(local_rank)
        try:
            self.upstream(local_rank, cfgs, gpus_per_node, run_name, hdf5_path)  # type: ignore[attr-defined]
        except KeyboardInterrupt:
            # of whole steps, unless it was pressed twice; the weights are whole in any case
            folder = RUN.worker.save_interrupted() if RUN.worker is not None else None
            if folder is not None:
                print(
                    f"\nrcas: interrupted after step {RUN.worker.done}; go on with -ckpt {folder}",
                    flush=True,
                )
            raise SystemExit(130) from None
        wiring.finish()


def source_folder() -> str:
    """The `src` folder of the StudioGAN that is activated."""
    return str(Path(str(importlib.import_module("loader").__file__)).parent)


def _activated_worker(source: str) -> Any:
    activate(source)
    return importlib.import_module("loader").load_worker
