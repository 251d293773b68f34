"""Selection: which weights the importance makes the class's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.importance import DISCRIMINATOR, GENERATOR, Importance
from rcas_plugin.synapses import KINDS

Scope = Literal["layer", "global"]


@dataclass(frozen=True)
class Selection:
    """The selected weights of G and D.

    Attributes:
        masks: by role and parameter name, True where the weight is selected; in the weight's shape.
        settings: what made the selection.
    """

    masks: Mapping[str, Mapping[str, Tensor]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def generator(self) -> Mapping[str, Tensor]:
        return self.masks[GENERATOR]

    @property
    def discriminator(self) -> Mapping[str, Tensor]:
        return self.masks[DISCRIMINATOR]

    def counts(self) -> dict[str, dict[str, tuple[int, int]]]:
        """(selected, all) weights of every tensor, by role and parameter name."""
        return {
            role: {name: (int(mask.sum()), mask.numel()) for name, mask in masks.items()} for role, masks in self.masks.items()
        }

    def fraction(self, role: str) -> float:
        """The selected part of all the selectable weights of one network."""
        pairs = self.counts()[role].values()
        return sum(pair[0] for pair in pairs) / max(1, sum(pair[1] for pair in pairs))

    def save(self, path: str | Path) -> None:
        """Write the masks as safetensors, with the settings in the header; atomically."""
        flat = {
            f"{role}/{name}": mask.to("cpu", torch.uint8).contiguous()
            for role, masks in self.masks.items()
            for name, mask in masks.items()
        }
        with atomic_path(path) as temporary:
            save_file(flat, temporary, metadata={"settings": json.dumps(dict(self.settings))})

    @classmethod
    def load(cls, path: str | Path) -> Selection:
        """Read what `save` wrote."""
        masks: dict[str, dict[str, Tensor]] = {GENERATOR: {}, DISCRIMINATOR: {}}
        with safe_open(path, framework="pt") as file:
            settings = json.loads((file.metadata() or {}).get("settings", "{}"))
            for key in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
                role, name = key.split("/", 1)
                masks[role][name] = file.get_tensor(key).bool()
        return cls(masks, settings)


def select_synapses(
    importance: Importance,
    *,
    ratio: float | Mapping[str, float] = 0.1,
    scope: Scope = "layer",
    kinds: frozenset[str] = KINDS,
) -> Selection:
    """Select the most important weights.

    A weight of no importance at all is never selected, however large the ratio: the label does not use it.

    Args:
        importance: of every weight, from `synapse_importance`.
        ratio: the part that is selected, 0 to 1; one for both networks, or by role.
        scope: `layer` takes the ratio of each weight tensor, `global` of each network as a whole.
        kinds: which weights may be selected, by kind of layer.

    Raises:
        RcasError: a ratio outside 0 to 1, or an unknown scope.
    """
    ratios = dict(ratio) if isinstance(ratio, Mapping) else dict.fromkeys(importance.weights, ratio)
    for role, value in ratios.items():
        if not 0 <= value <= 1:
            raise RcasError(f"select_synapses: the ratio of the {role} is {value}; allowed: 0 to 1")
    if scope not in ("layer", "global"):
        raise RcasError(f"select_synapses: scope {scope!r} is unknown; allowed: layer, global")
    masks: dict[str, dict[str, Tensor]] = {}
    for role, weights in importance.weights.items():
        chosen = {name: value for name, value in weights.items() if importance.kinds[role][name] in kinds}
        if scope == "layer":
            masks[role] = {name: _top(value, ratios[role]) for name, value in chosen.items()}
        else:
            flat = torch.cat([value.flatten() for value in chosen.values()]) if chosen else torch.zeros(0)
            parts = _top(flat, ratios[role]).split([value.numel() for value in chosen.values()])
            masks[role] = {name: part.view_as(value) for (name, value), part in zip(chosen.items(), parts, strict=True)}
    settings = {
        "importance": dict(importance.settings),
        "ratio": ratios,
        "scope": scope,
        "kinds": sorted(kinds),
    }
    return Selection(masks, settings)


def _top(value: Tensor, ratio: float) -> Tensor:
    """True at the largest `ratio` of the entries (rounded to a whole number), positive ones only; ties go to the first."""
    count = int(ratio * value.numel() + 0.5)
    order = value.flatten().argsort(descending=True, stable=True)[:count]
    mask = torch.zeros(value.numel(), dtype=torch.bool, device=value.device)
    mask[order] = True
    return mask.view_as(value) & (value > 0)
