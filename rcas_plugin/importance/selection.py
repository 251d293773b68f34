"""Selection: masks of the weights of the highest importance for a label."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR
from rcas_plugin.importance.estimate import Importance
from rcas_plugin.weights.synapses import KINDS

Scope = Literal["layer", "global", "threshold"]
Unit = Literal["element", "kernel", "filter"]
Rule = Literal["ratio", "difference", "damping"]

#: Keeps a division by an importance of zero finite, in float32 as well.
_TINY = 1e-30
#: Before the key of a factor in a saved selection.
_FACTOR = "factor:"


@dataclass(frozen=True)
class Selection:
    """The selected weights of G and D.

    Attributes:
        masks: by role and parameter name, True where the weight is selected; in the weight's shape.
        settings: what made the selection.
        factors: likewise, what `reinitialize(…, value="damp")` multiplies the selected weights by; empty for other rules.
    """

    masks: Mapping[str, Mapping[str, Tensor]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    factors: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

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
        for role, factors in self.factors.items():
            for name, factor in factors.items():
                flat[f"{_FACTOR}{role}/{name}"] = factor.to("cpu").contiguous()
        with atomic_path(path) as temporary:
            save_file(flat, temporary, metadata={"settings": json.dumps(dict(self.settings))})

    @classmethod
    def load(cls, path: str | Path) -> Selection:
        """The selection in a file that `save` wrote."""
        masks: dict[str, dict[str, Tensor]] = {GENERATOR: {}, DISCRIMINATOR: {}}
        factors: dict[str, dict[str, Tensor]] = {}
        with safe_open(path, framework="pt") as file:
            settings = json.loads((file.metadata() or {}).get("settings", "{}"))
            for key in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
                role, name = key.removeprefix(_FACTOR).split("/", 1)
                if key.startswith(_FACTOR):
                    factors.setdefault(role, {})[name] = file.get_tensor(key)
                else:
                    masks[role][name] = file.get_tensor(key).bool()
        return cls(masks, settings, factors)


def select_synapses(
    importance: Importance,
    *,
    ratio: float | Mapping[str, float] = 0.1,
    scope: Scope = "layer",
    threshold: float | None = None,
    unit: Unit = "element",
    against: Importance | None = None,
    rule: Rule = "ratio",
    damping: float = 1.0,
    exponent: float = 1.0,
    cap: float = 1.0,
    kinds: frozenset[str] = KINDS,
    within: Mapping[str, Collection[str]] | None = None,
) -> Selection:
    """Select the weights that serve the label: those of the highest score.

    The score is the importance itself or, with `against`, how far it exceeds the importance for the labels that remain: plain
    importance ranks high what every label needs. A weight of no importance at all is never selected, however large the ratio.

    Args:
        importance: of every weight for the label that is given up, from `synapse_importance`.
        ratio: the part that is selected, 0 to 1; one for both networks, or by role.
        scope: `layer` takes the ratio of each weight tensor, `global` of each network as a whole, `threshold` takes whatever
            scores over `threshold`, and no ratio.
        threshold: for that scope.
        unit: `element`; `kernel`, one output and input channel's kernel at a time; `filter`, one output channel (of a linear
            layer one output, of an embedding one row) at a time. A unit's importance is the mean of its elements'.
        against: the importance for the remaining labels.
        rule: the score with `against`: `ratio` is f / R, `difference` f - R, and `damping` f / R with
            `min((damping * R / f) ** exponent, 1)` kept as the factor that `reinitialize(…, value="damp")` multiplies by
            (selective synaptic dampening).
        damping: lambda of that rule.
        exponent: of that rule.
        cap: the largest part of any one weight tensor that may be selected, 0 to 1.
        kinds: which weights may be selected, by kind of layer.
        within: role -> the names of the only weights that may be selected in that network, as `weights.blocks` finds them.

    Raises:
        RcasError: a ratio or cap outside 0 to 1, an unknown scope, unit or rule, or a threshold that is missing.
    """
    ratios = dict(ratio) if isinstance(ratio, Mapping) else dict.fromkeys(importance.weights, ratio)
    for argument, value in {**{f"ratio of the {role}": part for role, part in ratios.items()}, "cap": cap}.items():
        if not 0 <= value <= 1:
            raise RcasError(f"select_synapses: the {argument} is {value}; allowed: 0 to 1")
    for argument, asked, choices in (("scope", scope, Scope), ("unit", unit, Unit), ("rule", rule, Rule)):
        if asked not in get_args(choices):
            raise RcasError(f"select_synapses: {argument} {asked!r} is unknown; allowed: {', '.join(get_args(choices))}")
    if scope == "threshold" and threshold is None:
        raise RcasError(
            "select_synapses: scope 'threshold' needs a threshold; give a number, such as 10 for against=…, rule='ratio'"
        )
    masks: dict[str, dict[str, Tensor]] = {}
    factors: dict[str, dict[str, Tensor]] = {}
    for role, weights in importance.weights.items():
        of_kind = importance.kinds[role]
        scores, factors[role] = {}, {}
        allowed = weights.keys() if within is None or role not in within else within[role]
        for name, weight in weights.items():
            if of_kind[name] not in kinds or name not in allowed:
                continue
            serves = _by_unit(weight, unit, of_kind[name])
            others = None if against is None else _by_unit(against.weights[role][name], unit, of_kind[name])
            scores[name] = _score(serves, others, rule)
            if others is not None and rule == "damping":
                factor = (damping * others / serves.clamp_min(_TINY)).pow(exponent).clamp_max(1)
                factors[role][name] = torch.where(weight > 0, factor, torch.ones_like(factor))
        chosen = _choose(scores, scope, ratios[role], threshold, cap)
        if unit != "element":  # a unit that the ratio cuts through is left out
            chosen = {name: _by_unit(mask.float(), unit, of_kind[name]) == 1 for name, mask in chosen.items()}
        outside = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in weights.items() if name not in allowed}
        masks[role] = outside | {name: mask & (weights[name] > 0) for name, mask in chosen.items()}
    settings = {
        "importance": dict(importance.settings),
        "ratio": ratios,
        "scope": scope,
        "unit": unit,
        "cap": cap,
        "kinds": sorted(kinds),
        **({"within": {role: sorted(names) for role, names in within.items()}} if within else {}),
        **({"threshold": threshold} if scope == "threshold" else {}),
        **({"against": dict(against.settings), "rule": rule} if against is not None else {}),
        **({"damping": damping, "exponent": exponent} if against is not None and rule == "damping" else {}),
    }
    return Selection(masks, settings, {role: of_role for role, of_role in factors.items() if of_role})


def overlap(first: Selection, second: Selection) -> float:
    """The part of the selected weights that two selections share: |A and B| / |A or B|; 1 where both are empty."""
    both = either = 0
    for role, masks in first.masks.items():
        for name, mask in masks.items():
            other_mask = second.masks[role][name]
            both += int((mask & other_mask).sum())
            either += int((mask | other_mask).sum())
    return both / either if either else 1.0


class Stable:
    """A rule for `synapse_importance(stop=…)`: True once the selection overlaps with the one before it by `wanted` or more.

    Args:
        wanted: the overlap, 0 to 1.
        select: Importance -> Selection, as the caller will select in the end.

    Attributes:
        reached: the last overlap, or None before the second look.
    """

    def __init__(self, wanted: float, select: Callable[[Importance], Selection] = select_synapses) -> None:
        self.wanted, self.select = wanted, select
        self.reached: float | None = None
        self._last: Selection | None = None

    def __call__(self, importance: Importance) -> bool:
        selection = self.select(importance)
        if self._last is not None:
            self.reached = overlap(self._last, selection)
        self._last = selection
        return self.reached is not None and self.reached >= self.wanted


def _score(serves: Tensor, others: Tensor | None, rule: Rule) -> Tensor:
    if others is None:
        return serves
    if rule == "difference":
        return serves - others
    return serves / others.clamp_min(_TINY)


def _by_unit(weight: Tensor, unit: Unit, kind: str) -> Tensor:
    """The mean over each unit, in the weight's shape."""
    if unit == "element" or (unit == "kernel" and weight.dim() < 3):
        return weight
    if unit == "kernel":
        dims = tuple(range(2, weight.dim()))
    else:
        output = 1 if kind == "conv_transpose" else 0
        dims = tuple(dim for dim in range(weight.dim()) if dim != output)
    return weight.mean(dims, keepdim=True).expand_as(weight)


def _choose(scores: Mapping[str, Tensor], scope: Scope, ratio: float, threshold: float | None, cap: float) -> dict[str, Tensor]:
    if scope == "layer":
        return {name: _top(score, min(ratio, cap)) for name, score in scores.items()}
    if scope == "threshold":
        assert threshold is not None
        return {name: (score > threshold) & _top(score, cap) for name, score in scores.items()}
    flat = torch.cat([score.flatten() for score in scores.values()]) if scores else torch.zeros(0)
    parts = _top(flat, ratio).split([score.numel() for score in scores.values()])
    pairs = zip(scores.items(), parts, strict=True)
    return {name: part.view_as(score) & _top(score, cap) for (name, score), part in pairs}


def _top(value: Tensor, ratio: float) -> Tensor:
    """True at the largest `ratio` of the entries, rounded to a whole number; ties go to the first."""
    count = int(ratio * value.numel() + 0.5)
    mask = torch.zeros(value.numel(), dtype=torch.bool, device=value.device)
    if count == len(mask):
        mask[:] = True
    elif count:
        mask[value.flatten().argsort(descending=True, stable=True)[:count]] = True
    return mask.view_as(value)
