"""The refusal, before anything is written, of options and keys that upstream accepts and fails on later."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from rcas_plugin.errors import RcasError
from rcas_plugin.registry import methods

STYLEGANS = ("stylegan2", "stylegan3")


def check_options(cfgs: Any) -> None:
    """Raise `RcasError` where upstream would end with a traceback at some step; `cfgs` is its Configurations."""
    _check_canvas(cfgs)
    if cfgs.MODEL.backbone in STYLEGANS:
        _check_stylegan(cfgs)
    if "RCAS" in cfgs.super_cfgs and cfgs.LOSS.adv_loss == "MH" and not cfgs.LOSS.mh_lambda:
        raise RcasError("LOSS.mh_lambda: 0 takes G's whole loss away, with what a method adds to it; allowed: over 0")
    if "RCAS" in cfgs.super_cfgs and cfgs.OPTIMIZATION.world_size > 1 and not cfgs.RUN.distributed_data_parallel:
        raise RcasError(  # upstream's other way, torch's DataParallel, copies networks without what a method has put into them
            "-DDP is missing: there are several GPUs; add it, or choose one of them: CUDA_VISIBLE_DEVICES=0"
        )
    if not torch.cuda.is_available() and cfgs.RUN.synchronized_bn and cfgs.OPTIMIZATION.world_size > 1:
        raise RcasError("-sync_bn: torch shares batch norm's statistics among GPUs alone; leave the option out on a CPU")


def check_apart(RUN: Any, method: str) -> None:
    """Raise `RcasError` for what upstream does with one generator where each label has a state of its own (`Method.apart`)."""
    if not methods[method].apart:
        return
    if RUN.interpolation:
        raise RcasError(
            f"-itp: a mixture of two labels belongs to no task of {method}, and so to no state of the generator; leave it out"
        )
    for name, asked in (("-std_stat", RUN.standing_statistics), ("-batch_stat", RUN.batch_statistics)):
        if asked:
            raise RcasError(f"{name}: each task of {method} has batch-norm statistics of its own; leave the option out")


def _batch(cfgs: Any) -> int:
    """The number of images a process in one update."""
    return int(cfgs.OPTIMIZATION.batch_size // cfgs.OPTIMIZATION.world_size)


def _check_canvas(cfgs: Any) -> None:
    """Raise `RcasError` where the batch does not divide into rows of 8 for the canvas that upstream draws at each save step."""
    sampler = importlib.import_module("utils.misc").define_sampler
    batch, classes = _batch(cfgs), cfgs.DATA.num_classes
    if sampler(cfgs.DATA.name, cfgs.MODEL.d_cond_mtd, batch, classes) == "acending_some" and batch % 8:
        raise RcasError(f"OPTIMIZATION.batch_size: {batch} images a process; allowed: a multiple of 8, or at least {8 * classes}")


def _check_stylegan(cfgs: Any) -> None:
    if not cfgs.MODEL.apply_g_ema:
        raise RcasError("MODEL.apply_g_ema: StudioGAN draws and judges the moving average of a StyleGAN alone; allowed: True")
    group = cfgs.STYLEGAN.d_epilogue_mbstd_group_size
    if cfgs.RUN.train and isinstance(group, int) and _batch(cfgs) % group:  # D takes statistics over whole groups
        raise RcasError(
            f"OPTIMIZATION.batch_size: {_batch(cfgs)} images a process; allowed: a multiple of "
            f"STYLEGAN.d_epilogue_mbstd_group_size ({group})"
        )
