"""Weights with a row or a column a label, and whether they can get another number of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rcas_plugin.errors import RcasError
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan
from rcas_plugin.labels import LabelPlan
from rcas_plugin.weights.label_bound import find_label_bound


@dataclass(frozen=True)
class LabelTable:
    """A weight with a row or a column a label.

    Attributes:
        role: `generator` or `discriminator`.
        name: of the trained tensor, as in `named_parameters()`.
        dim: 0 where a label has a row, 1 where it has a column.
        offset: rows or columns in front of label 0's.
    """

    role: str
    name: str
    dim: int
    offset: int = 0

    def rescaled(self, network: nn.Module, pretrained: Tensor) -> Tensor:
        """The pre-trained tensor, scaled so that the network computes with it what the pre-trained one did.

        StyleGAN's layers divide their weight by the root of the number of its columns.
        """
        layer = network.get_submodule(self.name.rpartition(".")[0])
        columns = network.get_parameter(self.name).shape[-1]
        if not hasattr(layer, "weight_gain") or pretrained.ndim < 2 or columns == pretrained.shape[-1]:
            return pretrained
        return pretrained * math.sqrt(columns / pretrained.shape[-1])


def find_label_tables(
    gan: Gan, states: Mapping[str, Mapping[str, Any]], plan: LabelPlan, asked: str = "RCAS.method: bn_propagation"
) -> list[LabelTable]:
    """The weights of G and D that have a row or column a label, given the checkpoint that the networks are to be filled from.

    These are the label-bound ones and, where the number of labels changes, whatever else has a row a label: those of an auxiliary
    classifier.

    Args:
        gan: networks of the plan's number of labels.
        states: `generator` and `discriminator` -> state dict of the pre-trained checkpoint.
        plan: the labels before and from now on.
        asked: who wants other labels, for the sentence.

    Raises:
        RcasError: a parameter depends on the number of labels in another way than by a row or column each.
    """
    before = len(plan.names_before)
    tables = {
        (bound.role, bound.name): LabelTable(bound.role, bound.name, bound.dim, bound.offset)
        for bound in find_label_bound(gan, plan.num_classes)
    }
    for role in (GENERATOR, DISCRIMINATOR):
        for name, parameter in gan.networks[role].state_dict(keep_vars=True).items():
            trained = states[role][name]
            if not isinstance(parameter, nn.Parameter) or parameter.shape == trained.shape or (role, name) in tables:
                continue
            dim = next(dim for dim in range(parameter.ndim) if parameter.shape[dim] != trained.shape[dim])
            if (parameter.shape[dim], trained.shape[dim]) != (plan.num_classes, before):
                raise RcasError(
                    f"{asked} cannot give {name} of the {role} other labels, as it has "
                    f"{trained.shape[dim]} rows for {before}; allowed for this config: RCAS.swap"
                )
            tables[role, name] = LabelTable(role, name, dim)
    return list(tables.values())
