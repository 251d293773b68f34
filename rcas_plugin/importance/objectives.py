"""The objectives that importance differentiates: one scalar a sample, from D's dictionary of outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from rcas_plugin.errors import RcasError

#: (D's outputs, labels (n,)) -> one scalar a sample, (n,).
Objective = Callable[[Mapping[str, Any], Tensor], Tensor]


def adversarial_logit(outputs: Mapping[str, Any], labels: Tensor) -> Tensor:
    """D's real/fake logit; where a conditioning has one logit a label (multi-hinge), the one of the sample's label."""
    logit = cast(Tensor, outputs["adv_output"])
    if logit.numel() == len(labels):
        return logit.reshape(-1)
    return _of_label(logit.reshape(len(labels), -1), labels)


def class_logit(outputs: Mapping[str, Any], labels: Tensor) -> Tensor:
    """The logit that D's classifier gives the sample's label (auxiliary classifiers; multi-hinge's own logits)."""
    return _of_label(_class_logits(outputs, labels), labels)


def class_probability(outputs: Mapping[str, Any], labels: Tensor) -> Tensor:
    """The softmax of the classes' logits, at the sample's label."""
    return _of_label(torch.softmax(_class_logits(outputs, labels), 1), labels)


def feature_norm(outputs: Mapping[str, Any], labels: Tensor) -> Tensor:
    """The squared norm of D's last features, before any head; it depends on the image and not on its label."""
    return cast(Tensor, outputs["h"]).flatten(1).square().sum(1)


def _class_logits(outputs: Mapping[str, Any], labels: Tensor) -> Tensor:
    logits = outputs.get("cls_output")
    if logits is None and outputs["adv_output"].numel() > len(labels):  # multi-hinge
        logits = outputs["adv_output"]
    if logits is None:
        raise RcasError(
            "RCAS.importance.objective: this discriminator has no classifier, so there is no class logit; allowed: adv_output, "
            "feature_norm, or a MODEL.d_cond_mtd with one (AC, TAC, MH)"
        )
    return cast(Tensor, logits).reshape(len(labels), -1)


def _of_label(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None]).squeeze(1)
