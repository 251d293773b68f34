"""The wrappers that stand in the seams: a few lines each, between upstream's calls and the run's method."""

from __future__ import annotations

from rcas_plugin.checkpoints.folder import settle
from rcas_plugin.checkpoints.leftovers import clear_leftovers
from rcas_plugin.report.page import REPORT, write_report
from rcas_plugin.studiogan.active import RUN
from rcas_plugin.studiogan.backbones import wire_backbones
from rcas_plugin.studiogan.seams import replace
from rcas_plugin.studiogan.wiring import config, data, networks, steps
from rcas_plugin.studiogan.worker import make_worker


def wire() -> None:
    """Put every wrapper into its seam; safe to call again."""
    replace("loader.WORKER", "worker", lambda upstream: make_worker(upstream, RUN))
    for path, key, wrapper in (*config.WRAPPERS, *steps.WRAPPERS, *data.WRAPPERS, *networks.WRAPPERS):
        replace(path, key, wrapper)
    wire_backbones(RUN)
    networks.register_stylegan_layers()


def start(local_rank: int) -> None:
    """Remove, in one process and before upstream does anything, the half-written files of a killed run."""
    options = RUN.cfgs.RUN
    if local_rank == 0 and options.current_node == 0:
        goes_on = options.train and options.freezeD == -1 and not (RUN.swap is not None and RUN.swap.starts)
        clear_leftovers(options.save_dir, options.data_dir, options.ckpt_dir if goes_on else None,
                        spare=None if goes_on else options.ckpt_dir)  # fmt: skip
        if goes_on and options.ckpt_dir is not None:
            settle(options.ckpt_dir)


def finish() -> None:
    """Finish a swap: tell the method, and write the page that `rcas report` makes into the run's folder."""
    if RUN.lifecycle is None or RUN.worker is None or RUN.worker.done is None:
        return
    RUN.lifecycle.finish()
    observer = RUN.lifecycle.observer
    if observer is not None and observer.judge is not None:
        page = write_report([observer.folder], observer.folder / REPORT)
        print(f"rcas: the report is {page}", flush=True)
