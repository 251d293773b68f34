"""The wrappers around upstream's data: the images behind each label, and statistics of the swapped data."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from typing import Any

from rcas_plugin.registry import methods
from rcas_plugin.studiogan.active import RUN
from rcas_plugin.studiogan.backbones import (
    cache_name,
    files_fingerprint,
    is_own,
)
from rcas_plugin.studiogan.data import swap_dataset


def _dataset(original: Any) -> Any:
    @functools.wraps(original, updated=())
    def dataset(*args: Any, **kwargs: Any) -> Any:
        base = original(*args, **kwargs)
        if RUN.base is None:  # the training data come first
            RUN.base = base
        if RUN.swap is None:
            return base
        trains = RUN.data is None
        data = swap_dataset(base, RUN.swap.plan, RUN.swap.classes, RUN.cfgs.DATA.img_size, RUN.cfgs.RUN.pre_resizer,
                            balance=trains and RUN.cfgs.RUN.train and RUN.swap.settings.balance,
                            share=RUN.swap.settings.drawn_share)  # fmt: skip
        if not trains:
            return data
        RUN.data = data  # with the images of every label: of what is trained and of what is judged
        shown = methods[RUN.swap.settings.method].shown(RUN.swap.settings)
        return data if shown == "all" or not RUN.cfgs.RUN.train else data.under(RUN.swap.plan.slots)

    return dataset


def _cached_apart(original: Any) -> Any:
    """Upstream caches statistics of the real data by the names of data set and backbone; a swap's real data are others, the
    plugin's backbones differ by their content, and images may have been replaced since."""

    @functools.wraps(original)
    def prepare(*args: Any, cfgs: Any, **kwargs: Any) -> Any:
        if is_own(cfgs.RUN.eval_backbone):
            cfgs = copy.copy(cfgs)
            cfgs.RUN = copy.copy(cfgs.RUN)
            cfgs.RUN.eval_backbone = cache_name(RUN, cfgs.RUN.eval_backbone)
        if files := files_fingerprint(cfgs.RUN.data_dir, cfgs.DATA.name, train=cfgs.RUN.ref_dataset == "train"):
            cfgs = copy.copy(cfgs)
            cfgs.DATA = copy.copy(cfgs.DATA)
            cfgs.DATA.name += f"-{files}"
        if RUN.swap is not None:
            plan = RUN.swap.plan
            key = json.dumps([sorted(plan.class_to_label.items()), {k: list(v) for k, v in plan.new_files.items()}])
            cfgs = copy.copy(cfgs)
            cfgs.DATA = copy.copy(cfgs.DATA)
            cfgs.DATA.name += "-swap-" + hashlib.sha256(key.encode()).hexdigest()[:12]
        return original(*args, cfgs=cfgs, **kwargs)

    return prepare


WRAPPERS = (
    ("loader.Dataset_", "labels", _dataset),
    ("metrics.preparation.prepare_moments", "cache", _cached_apart),
    ("metrics.preparation.prepare_real_feats", "cache", _cached_apart),
)
