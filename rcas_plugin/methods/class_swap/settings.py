"""The keys of `method: class_swap`, and its presets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from rcas_plugin.errors import RcasError
from rcas_plugin.methods.label_start import LabelStartSettings
from rcas_plugin.registry import objectives
from rcas_plugin.settings.common import CommonSettings, Section
from rcas_plugin.weights.blocks import REST

#: An entry of a list of blocks.
_ENTRY = re.compile(rf"(\d+|{REST})(/\d+)?")


def _objective_names(schema: dict[str, Any]) -> None:
    schema["enum"] = sorted(objectives)


class ImportanceSettings(Section):
    """The estimate of each weight's importance for the old class (`rcas_plugin.importance.estimate`)."""

    samples: int = Field(2048, gt=0, description="generated images of the old class that the mean runs over, at the most")
    estimator: Literal["per_sample", "fisher", "batch", "output_norm"] = Field(
        "per_sample", description="mean absolute gradient, mean squared gradient, absolute mean gradient, or MAS's"
    )
    objective: str = Field(
        "adv_output",
        description="what is differentiated: adv_output (D's logit), class_logit, class_probability, feature_norm",
        json_schema_extra=_objective_names,
    )
    stable: float = Field(
        1.0, ge=0, le=1, description="stop sampling once the selection overlaps this much with the one of half the samples"
    )
    memory_mb: int = Field(512, gt=0, description="memory for per-sample gradients; sets the batch size")


def _block_entries(schema: dict[str, Any]) -> None:
    listed = next(choice for choice in schema["anyOf"] if choice.get("type") == "array")
    listed |= {
        "minItems": 1,
        "items": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^({_ENTRY.pattern})$"}]},
    }


class BlocksSettings(Section):
    """The blocks whose weights may be selected (`rcas_plugin.weights.blocks`)."""

    generator: Literal["all"] | list[int | str] = Field(
        "all",
        description="all, or a list of G's blocks to select in: indices from 0, rest (what is in no block), BLOCK/LAYER",
        json_schema_extra=_block_entries,
    )
    discriminator: Literal["all"] | list[int | str] = Field(
        "all", description="all, or a list of D's blocks likewise", json_schema_extra=_block_entries
    )

    def check(self) -> None:
        """Raise `RcasError` where an entry is none; which blocks there are is known with the networks."""
        for role, wanted in (("generator", self.generator), ("discriminator", self.discriminator)):
            key = f"RCAS.selection.blocks.{role}"
            if wanted == []:
                raise RcasError(f"{key}: the list is empty; allowed: all, or blocks ({role}_ratio: 0 selects nothing)")
            wrong = [entry for entry in wanted if not _ENTRY.fullmatch(str(entry))] if wanted != "all" else []
            if wrong:
                raise RcasError(f"{key}: {wrong[0]!r} is not allowed; allowed: an index from 0, rest, or BLOCK/LAYER (0/1)")


class SelectionSettings(Section):
    """The selection of the weights that are re-initialised (`rcas_plugin.importance.selection`)."""

    generator_ratio: float = Field(0.0, ge=0, le=1, description="part of G's weights that is selected")
    discriminator_ratio: float = Field(0.0, ge=0, le=1, description="part of D's weights that is selected")
    scope: Literal["layer", "global", "threshold"] = Field(
        "layer", description="the ratio of each layer, of the network, or all over the threshold"
    )
    threshold: float = Field(10.0, ge=0, description="for scope threshold: the score over which a weight is selected")
    unit: Literal["element", "kernel", "filter"] = Field("element", description="what is selected as a whole")
    against: Literal["nothing", "ratio", "difference", "damping"] = Field(
        "nothing", description="score: importance f alone, or against that of the remaining labels: f / R, f - R, dampening's"
    )
    damping: float = Field(
        1.0, ge=0, description="for reinit damp: weights are multiplied by min((damping R / f) ** exponent, 1)"
    )
    exponent: float = Field(1.0, ge=0, description="for reinit damp: see damping")
    cap: float = Field(1.0, ge=0, le=1, description="the largest part of any one layer that is selected")
    conv: bool = Field(True, description="select in convolutions")
    conv_transpose: bool = Field(True, description="select in transposed convolutions")
    linear: bool = Field(True, description="select in linear layers")
    embedding: bool = Field(True, description="select in embeddings")
    blocks: BlocksSettings = Field(default_factory=BlocksSettings)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of weight that are switched on."""
        return frozenset(kind for kind in ("conv", "conv_transpose", "linear", "embedding") if getattr(self, kind))


class ClassSwapSettings(CommonSettings):
    """The `RCAS` section of `method: class_swap`."""

    importance: ImportanceSettings = Field(default_factory=ImportanceSettings)
    selection: SelectionSettings = Field(default_factory=SelectionSettings)
    reinit: Literal["zero", "init", "damp"] = Field("zero", description="what is put in the place of the selected weights")
    label_start: LabelStartSettings = Field(default_factory=LabelStartSettings)
    batch_norm: Literal["batch", "running"] = Field(
        "batch", description="what G's batch norms go by in training: a batch's statistics, or the running ones, which then stay"
    )
    bn_batches: int = Field(
        60, ge=0, description="batches from which G's batch-norm statistics are estimated anew after it; 0 keeps them"
    )

    def check(self) -> None:
        super().check()
        self.selection.blocks.check()
        objective = self.importance.objective
        if objective not in objectives:
            raise RcasError(f"RCAS.importance.objective: {objective!r} is unknown; allowed: {objectives.names()}")
        if self.reinit == "damp" and self.selection.against != "damping":
            raise RcasError(
                "RCAS.reinit: damp needs the factors of RCAS.selection.against: damping; allowed without it: zero, init"
            )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # what did best in the trials of docs/results/README.md; it edits what the slot's label alone reaches, so that batch norm's
    # statistics stay good for the others
    "class_swap": {
        "label_start": {"how": "match"},
        "share": 0.5,
        "batch_norm": "running",
        "retain": 10.0,
        "average": 0.95,
        "bn_batches": 0,
    },
    # class-swap learning as its authors ran it: the top 20 % of each of G's weight tensors and 0.5 % of each of D's, set to zero
    "rcas": {"selection": {"generator_ratio": 0.2, "discriminator_ratio": 0.005}},
    # 10 % of both: twenty times as much of D
    "rcas_10": {"selection": {"generator_ratio": 0.1, "discriminator_ratio": 0.1}},
}
#: What the name of a preset meant when runs of earlier versions recorded it.
FORMER_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "class_swap": {"label_start": {"how": "match"}, "retain": 10.0, "bn_batches": 0},
    "rcas": PRESETS["rcas_10"],
}
