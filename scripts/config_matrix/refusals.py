"""What may be refused: by a feature of the config, with a reason that its sentence must give. Anything else is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from config_matrix.reduction import is_conditional

METHODS = ("fine_tune", "class_swap", "rcas", "bn_propagation", "add", "stage bn", "gan_memory", "piggyback", "feature_replay")
APART = ("gan_memory", "piggyback")
MATCHED = ("class_swap", "bn_propagation", "add", "stage bn")


@dataclass(frozen=True)
class MayRefuse:
    """A feature that a method may refuse.

    Attributes:
        feature: for a reader.
        has: whether a config has it.
        cells: the columns that may be refused.
        says: what the sentence must speak of, a regular expression.
    """

    feature: str
    has: Callable[[Mapping[str, Any]], bool]
    cells: tuple[str, ...]
    says: str


def _judges_by_rows_of_its_own(config: Mapping[str, Any]) -> bool:
    model = config["MODEL"]
    return "MH" in str(model.get("d_cond_mtd")) or "ADC" in str(model.get("aux_cls_type"))


def _spectral_norm_on_the_label(config: Mapping[str, Any]) -> bool:
    model = config["MODEL"]  # the big_resnet family's shared embedding has none
    own_columns = model.get("backbone", "resnet") in ("resnet", "deep_conv") and model.get("g_cond_mtd") == "cBN"
    return own_columns and bool(model.get("apply_g_sn"))


def _is_stylegan(config: Mapping[str, Any]) -> bool:
    return str(config["MODEL"].get("backbone")).startswith("stylegan")


def _classifies_in_d(config: Mapping[str, Any]) -> bool:
    model = config["MODEL"]
    return model.get("d_cond_mtd", "W/O") not in ("W/O", "PD", "SPD", "MD", "N/A") or model.get("info_type", "N/A") != "N/A"


MAY_REFUSE = (
    MayRefuse("a GAN without labels", lambda config: not is_conditional(config), METHODS, r"not conditional"),
    MayRefuse("D has more rows than labels (multi-hinge, ADC)", _judges_by_rows_of_its_own, ("add",), r"label"),
    MayRefuse("kernels that each image's style modulates", _is_stylegan, APART, r"StyleGAN"),
    MayRefuse("D classifies, or has a logit a label", _classifies_in_d, ("feature_replay",), r"D of its own"),
    MayRefuse("spectral norm on what a label alone reaches in G", _spectral_norm_on_the_label, MATCHED, r"spectral"),
)


def is_expected(config: Mapping[str, Any], cell: str, sentence: str) -> bool:
    """Whether a cell of this config may be refused with this sentence."""
    return any(cell in rule.cells and rule.has(config) and re.search(rule.says, sentence) for rule in MAY_REFUSE)
