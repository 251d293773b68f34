"""The optimisers of G and D, kept in step with what a method trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rcas_plugin.gan import Gan
from rcas_plugin.weights.adapters import added_parameters
from rcas_plugin.weights.label_bound import scale_updates, warm_down


class Optimizers:
    """The optimisers of a run by role.

    Args:
        by_role: `generator`, `discriminator` -> the optimiser with all parameters that may ever be trained.
        log: says a line to the user.
    """

    def __init__(self, by_role: Mapping[str, torch.optim.Optimizer], log: Callable[[str], None]) -> None:
        self.by_role, self._log = dict(by_role), log
        self._all = {role: [list(group["params"]) for group in optimizer.param_groups] for role, optimizer in by_role.items()}
        for optimizer in by_role.values():
            optimizer.register_load_state_dict_pre_hook(self._fresh_unless_it_fits)

    def keep(self, trained: set[nn.Parameter]) -> None:
        """Leave the trained parameters in their groups and drop the state of the others; those that return start anew."""
        for role, optimizer in self.by_role.items():
            for group, parameters in zip(optimizer.param_groups, self._all[role], strict=True):
                group["params"] = [parameter for parameter in parameters if parameter in trained]
            for parameter in optimizer.state.keys() - trained:
                del optimizer.state[parameter]

    def scale(self, role: str, views: Sequence[Tensor], multiplier: float, steps: int, step: Callable[[], int]) -> None:
        """Step the viewed entries `multiplier` times as far, warmed down to 1 over `steps` steps (`RCAS.label_lr`)."""
        if views:
            scale_updates(self.by_role[role], views, lambda: warm_down(multiplier, steps, step()))

    def count(self, role: str) -> int:
        """The number of parameters that a role's optimiser was built with."""
        return sum(map(len, self._all[role]))

    def _fresh_unless_it_fits(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any] | None:
        """Replace a state of other parameters (this step was in another stage of a shorter run) by the optimiser's own state."""
        if fits(optimizer, state):
            return None
        self._log("the checkpoint's optimiser trained other parameters than those of this step; it starts anew")
        return optimizer.state_dict()


def fits(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> bool:
    """True where an optimiser's state is one of parameters of the same numbers and shapes."""
    groups = list(zip(state["param_groups"], optimizer.param_groups, strict=True))
    if any(len(old["params"]) != len(new["params"]) for old, new in groups):
        return False
    shapes = {
        index: parameter.shape for old, new in groups for index, parameter in zip(old["params"], new["params"], strict=True)
    }
    return all(
        value.shape == shapes[index]
        for index, values in state["state"].items()
        for value in values.values()
        if isinstance(value, Tensor) and value.ndim
    )


def plain_parameters(gan: Gan, optimizers: Optimizers | None) -> dict[str, int]:
    """Role -> the number of parameters in the optimiser of a plain network; empty where the networks are plain.

    `rcas fold` writes optimisers of that size, as StudioGAN loads no others.
    """
    added = {role: len(added_parameters(gan.networks[role])) for role in (optimizers.by_role if optimizers else ())}
    if optimizers is None or not any(added.values()):
        return {}
    return {role: optimizers.count(role) - number for role, number in added.items()}
