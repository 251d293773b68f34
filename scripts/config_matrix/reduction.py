"""A shipped config made small: widths, batches and intervals shrink, every feature stays."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

#: Labels of a conditional GAN's pre-training, and the classes that come: one for a slot, one under a label of its own.
CLASSES = ("a", "b", "c", "d")
SLOT, NEW, ADDED = "b", "bb", "e"  # bb sorts into the slot of b: folders and labels stay in one order
IMG_SIZE = 32  # the smallest that every backbone has a table for

#: What may shrink, by section; `reduce_config` changes no other key.
SIZES: Mapping[str, frozenset[str]] = {
    "DATA": frozenset({"name", "img_size", "num_classes"}),
    "MODEL": frozenset({"z_dim", "w_dim", "g_shared_dim", "g_conv_dim", "d_conv_dim", "d_embed_dim", "attn_g_loc", "attn_d_loc",
                        "g_ema_decay", "g_ema_start"}),
    "LOSS": frozenset({"lecam_ema_start_iter"}),
    "OPTIMIZATION": frozenset({"batch_size", "acml_steps", "d_updates_per_step", "total_steps"}),
    "AUG": frozenset({"ada_initial_augment_p", "ada_interval", "apa_initial_augment_p", "apa_interval"}),
    "STYLEGAN": frozenset({"mapping_network", "g_ema_kimg"}),
}  # fmt: skip


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """A config file's sections of keys, empty ones for those that it leaves to upstream's defaults."""
    content: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {**{section: {} for section in SIZES}, **content}


def is_stylegan(config: Mapping[str, Any]) -> bool:
    return str(config["MODEL"].get("backbone", "resnet")).startswith("stylegan")


def is_conditional(config: Mapping[str, Any]) -> bool:
    """Whether the config's generator has labels."""
    return str(config["MODEL"].get("g_cond_mtd", "W/O")) != "W/O" and int(config["DATA"].get("num_classes", 10)) > 1


def reduce_config(config: Mapping[str, Mapping[str, Any]], steps: int) -> dict[str, dict[str, Any]]:
    """The config with small widths, few labels, small batches, and with what acts late or rarely acting at once.

    StyleGAN's widths are no keys of a config; `main_run.narrow_stylegan` reduces them.

    Args:
        config: the shipped config's sections.
        steps: OPTIMIZATION.total_steps.
    """
    small = {section: dict(copy.deepcopy(keys)) for section, keys in config.items()}
    for section in SIZES.keys() - small.keys():
        small[section] = {}
    stylegan = is_stylegan(config)
    labels = len(CLASSES) if config["DATA"].get("num_classes", 10) > 1 else 1
    small["DATA"].update(name="matrix", img_size=IMG_SIZE, num_classes=labels)  # not a data set that upstream downloads
    _reduce_model(small["MODEL"], small["MODEL"].get("backbone", "resnet"))
    if "lecam_ema_start_iter" in small["LOSS"]:
        small["LOSS"]["lecam_ema_start_iter"] = 0
    optimization, group = small["OPTIMIZATION"], small["STYLEGAN"].get("d_epilogue_mbstd_group_size", 0)
    optimization["batch_size"] = max(8, group) if stylegan else 8  # upstream wants a group no larger than the batch
    optimization["d_updates_per_step"] = min(2, optimization.get("d_updates_per_step", 5))
    if "acml_steps" in optimization:
        optimization["acml_steps"] = min(2, optimization["acml_steps"])
    optimization["total_steps"] = steps
    for kind in ("ada", "apa"):
        if small["AUG"].get(f"apply_{kind}"):
            small["AUG"].update({f"{kind}_initial_augment_p": 0.5, f"{kind}_interval": 1})
    if stylegan:
        small["STYLEGAN"]["mapping_network"] = 2
        if "g_ema_kimg" in small["STYLEGAN"]:
            small["STYLEGAN"]["g_ema_kimg"] = optimization["batch_size"] / 1000  # half of it each step
    return {section: keys for section, keys in small.items() if keys}


def _reduce_model(model: dict[str, Any], backbone: str) -> None:
    model["z_dim"] = 16
    widths = {"w_dim": 16, "g_shared_dim": 8, "d_embed_dim": 16}
    model.update({key: width for key, width in widths.items() if key in model})
    if backbone.endswith(("resnet", "legacy", "studiogan")):  # the others have no such keys
        model.update(g_conv_dim=4, d_conv_dim=4)
    for key, last in (("attn_g_loc", 2), ("attn_d_loc", 1)):  # blocks of the smallest image size
        if key in model:
            model[key] = [min(place, last) for place in model[key]]
    if "g_ema_decay" in model:
        model.update(g_ema_decay=0.5, g_ema_start=0)
