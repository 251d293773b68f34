"""The edits of a method's `prepare`: the number of changed entries of each weight, and the size of the change."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rcas_plugin.gan import Gan

#: role -> parameter's name -> its values.
Parameters = dict[str, dict[str, Tensor]]


def parameters_of(gan: Gan) -> Parameters:
    """Copies of the parameters of G and D."""
    networks = {"generator": gan.generator, "discriminator": gan.discriminator}
    return {
        role: {name: value.detach().clone() for name, value in network.named_parameters()} for role, network in networks.items()
    }


def edits(before: Parameters, gan: Gan) -> dict[str, dict[str, dict[str, Any]]]:
    """Role -> parameter -> `changed` of `of` numbers, `relative` (norm of the change, of the norm before; None from zero).

    Parameters that are new are left out: a method has put them there.
    """
    changes: dict[str, dict[str, dict[str, Any]]] = {}
    for role, now in parameters_of(gan).items():
        changes[role] = {}
        for name, value in now.items():
            old = before[role].get(name)
            if old is None or old.shape != value.shape:
                continue
            norm = float(torch.linalg.vector_norm(old.double()))
            change = float(torch.linalg.vector_norm((value - old).double()))
            changes[role][name] = {
                "changed": int((value != old).sum()), "of": value.numel(), "relative": change / norm if norm else None,
            }  # fmt: skip
    return changes
