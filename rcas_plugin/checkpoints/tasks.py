"""Tasks: the generator after a swap, as its difference from a base, in one file that is never written again.

The generator is the one that a user sees (`Gan.evaluated`). A weight that a method's adapter computes is kept as the adapter has
it, and computed again where the task is folded into the base, so that small adapters stay small on the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rcas_plugin.errors import RcasError
from rcas_plugin.files import atomic_path
from rcas_plugin.record import FromFile
from rcas_plugin.registry import adapters as registered
from rcas_plugin.weights.adapters import adapted, computed, parts_of, plain_name, rebuilt

#: The one key of a file's metadata; safetensors keeps several in no order, and then the same task would be other bytes.
_HEADER = "rcas_task"
#: What a user does about a file that is not as it was written.
CURE = "put the file of that name from another run of this lineage in its place, or delete the folder that holds it: " \
       "earlier states are then lost, and swaps go on"  # fmt: skip


class AdaptedWeight(FromFile):
    """The adapter of one weight: its name in `registry.adapters`, and the values of its state that are no tensors."""

    adapter: str
    values: dict[str, Any] = Field(default_factory=dict)


class _Header(FromFile):
    method: str
    labels: tuple[int, ...]
    adapters: dict[str, AdaptedWeight] = Field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """The difference that one swap made to the evaluated generator.

    Attributes:
        tensors: on the CPU, by the plain name of a parameter or buffer where it differs from the base by a bit or in its shape;
            for an adapted weight the table under its plain name, and the adapter's tensors as `name/part`.
        labels: those that the swap made.
        method: `RCAS.method` of the swap.
        adapters: the adapted weights, by plain name.
    """

    tensors: Mapping[str, Tensor]
    labels: tuple[int, ...]
    method: str
    adapters: Mapping[str, AdaptedWeight] = field(default_factory=dict)

    def parts(self, name: str) -> dict[str, Any]:
        """The adapter's part of the state dict for an adapted weight."""
        start = f"{name}/"
        tensors = {key.removeprefix(start): tensor for key, tensor in self.tensors.items() if key.startswith(start)}
        return {**tensors, **self.adapters[name].values}


def task_of(state: Mapping[str, Any], base: Mapping[str, Tensor], labels: Collection[int], method: str) -> Task:
    """The task of a generator's state: its difference from a base.

    What an adapter has from the tasks before, which its class names in `inherited`, is left out.

    Args:
        state: of the evaluated generator, adapters and all.
        base: plain state dict of the generator that the lineage began with.
        labels: those that the swap made.
        method: of the swap.
    """
    names = adapted(state)
    plain = {key: value for key, value in state.items() if plain_name(key) == key}
    tensors: dict[str, Tensor] = {}
    weights: dict[str, AdaptedWeight] = {}
    for name, adapter in names.items():
        plain[name], parts = parts_of(state, name)
        values = {part: value for part, value in parts.items() if not isinstance(value, Tensor)}
        weights[name] = AdaptedWeight(adapter=adapter, values=values)
        left_out = {*values, *getattr(registered[adapter], "inherited", ())}
        tensors |= {f"{name}/{part}": _own(value) for part, value in parts.items() if part not in left_out}
    tensors |= {name: _own(value) for name, value in plain.items() if name not in base or not same_bits(value, base[name])}
    return Task(tensors, tuple(sorted(labels)), method, weights)


@torch.no_grad()
def folded(base: Mapping[str, Tensor], tasks: Sequence[Task], index: int) -> dict[str, Tensor]:
    """The plain state dict of the generator after a swap: equal to the bit to the one that the task was taken from.

    Args:
        base: plain state dict of the generator that the lineage began with; left as it is.
        tasks: of the lineage, oldest first.
        index: of the task, into `tasks`; adapters may build on those before it.
    """
    task = tasks[index]
    state = {**base, **{name: tensor for name, tensor in task.tensors.items() if "/" not in name}}
    for name, weight in task.adapters.items():
        earlier = [previous.parts(name) for previous in tasks[:index] if name in previous.adapters]
        state[name] = computed(state[name], rebuilt(weight.adapter, task.parts(name), earlier))
    return state


def same_bits(one: Tensor, other: Tensor) -> bool:
    """True where two tensors have the same type, shape and bits: -0.0 differs from 0.0, and a NaN equals itself."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return torch.equal(*(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)))


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


# files ----------------------------------------------------------------------------------------------------------------------


def write_task(path: str | Path, task: Task) -> str:
    """Write a task as safetensors, atomically; returns the sha256 of the file.

    Raises:
        RcasError: the file is there with another content; a task is never written again.
    """
    header = _Header(method=task.method, labels=task.labels, adapters=dict(task.adapters))
    return write_once(Path(path), task.tensors, {_HEADER: header.model_dump_json()})


def read_task(path: str | Path, sha256: str | None = None) -> Task:
    """The task in a file that `write_task` wrote.

    Args:
        path: of the file.
        sha256: what the file is known to have; not compared where it is None.

    Raises:
        RcasError: the file is missing, damaged, another one, or no task.
    """
    tensors, metadata = read_tensors(Path(path), sha256)
    try:
        header = _Header.model_validate_json(metadata.get(_HEADER, ""))
    except ValidationError:
        raise RcasError(f"{path} holds no task of a swap; {CURE}") from None
    return Task(tensors, header.labels, header.method, header.adapters)


def write_once(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> str:
    """Write tensors as safetensors, atomically, unless the very same file is there; returns its sha256.

    Raises:
        RcasError: the file is there with another content.
    """
    content = save({name: _own(tensor) for name, tensor in tensors.items()}, metadata)
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    elif path.read_bytes() != content:
        raise RcasError(f"{path} is there already, with another state of the generator; name another -save folder for this run")
    return hashlib.sha256(content).hexdigest()


def read_tensors(path: Path, sha256: str | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, on the CPU, and its metadata; arguments and errors as `read_task`'s."""
    check_file(path, sha256)
    try:
        with safe_open(path, framework="pt") as file:
            # copied, as kernels compute other last bits with what lies anywhere in a file than with memory of torch's own
            tensors = {name: _own(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError):
        raise RcasError(f"{path} cannot be read: it is cut short, or no safetensors file; {CURE}") from None


def check_file(path: Path, sha256: str | None) -> None:
    """Raise `RcasError` unless a file is there, and the one that was recorded."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RcasError(f"{path} cannot be read ({error.strerror}); {CURE}") from None
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise RcasError(f"{path} is not the file that rcas.json beside it records (its sha256 is another); {CURE}")
