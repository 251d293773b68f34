"""A checkpoint as one object: a folder's files, each read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint
from rcas_plugin.gan import Gan
from rcas_plugin.record import Record, read_record
from rcas_plugin.weights.adapters import fold_state, is_plain

#: Upstream's name of a network's file -> the network of a `Gan`.
NETWORKS = {"G": "generator", "D": "discriminator", "G_ema": "ema"}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint folder's files at the time of reading; tensors are on the CPU.

    Attributes:
        contents: `G`, `D` and, where it has a file, `G_ema` -> the file's dictionary (`state_dict`, `optimizer`, …).
        record: what the run recorded beside it; empty where it recorded nothing.
        folder: where it lies; None for one that was never written.
        files: network -> its file.
        unfolded: the checkpoint that this one was folded from; None where it was not.
    """

    contents: Mapping[str, Mapping[str, Any]]
    record: Record = field(default_factory=Record)
    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    unfolded: Checkpoint | None = None

    @classmethod
    def read(cls, folder: str | Path, *, best: bool = False) -> Checkpoint:
        """The checkpoint in a folder, the newest or the best.

        Raises:
            RcasError: a file is missing, cut short, or holds something else than tensors and numbers.
        """
        files = checkpoint_files(folder, best=best)
        return cls({network: read_checkpoint(path) for network, path in files.items()}, read_record(folder), Path(folder), files)

    @classmethod
    def of(cls, gan: Gan) -> Checkpoint:
        """A checkpoint of the weights that networks in memory have now: copies, at step 0."""
        return cls.of_states({name: network.state_dict() for name, network in gan.networks.items()})

    @classmethod
    def of_states(cls, states: Mapping[str, Mapping[str, Any]], step: int = 0) -> Checkpoint:
        """A checkpoint of state dicts by network of a `Gan`: copies on the CPU."""
        names = {role: network for network, role in NETWORKS.items()}
        return cls(
            {names[role]: {"state_dict": {key: _copy(value) for key, value in state.items()}, "step": step}
             for role, state in states.items()}
        )  # fmt: skip

    @cached_property
    def states(self) -> dict[str, dict[str, Any]]:
        """The state dicts by network of a `Gan`: `generator`, `discriminator`, `ema` (G's own where it has no file)."""
        states = {NETWORKS[network]: content["state_dict"] for network, content in self.contents.items()}
        return {"ema": states["generator"], **states}

    @property
    def step(self) -> int:
        """The number of training steps before the checkpoint was written."""
        return int(self.contents["D"]["step"])

    @property
    def adapted(self) -> bool:
        """True where a method has put adapters around weights, or something of its own into a network."""
        return not all(is_plain(content["state_dict"]) for content in self.contents.values())

    @cached_property
    def folded(self) -> Checkpoint:
        """The same checkpoint with every adapted weight folded into a plain one, without optimisers."""
        plain = {
            network: {**content, "state_dict": fold_state(content["state_dict"]), "optimizer": None}
            for network, content in self.contents.items()
        }
        return Checkpoint(plain, self.record, self.folder, self.files, self)


def _copy(value: Any) -> Any:
    return value.detach().cpu().clone() if hasattr(value, "detach") else value
