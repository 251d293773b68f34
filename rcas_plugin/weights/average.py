"""An exponential moving average of a generator's parameters and buffers, as upstream's `src/utils/ema.py` (`Ema`) has it.

It is kept beside the generator and not as a second network, as one with spectral norm or adapters cannot be copied as it trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rcas_plugin.files import atomic_path


class Average:
    """The average of one generator's tensors, on its device; it starts as the generator is now.

    Args:
        generator: the one that is trained.
        decay: the part of the average that stays at each update, 0 to 1.
    """

    def __init__(self, generator: nn.Module, decay: float) -> None:
        self.generator, self.decay = generator, decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors_of(generator).items()}

    @torch.no_grad()
    def update(self, averaged: Iterable[Tensor]) -> None:
        """Take in the generator as it is after a step.

        Args:
            averaged: the parameters and buffers of the generator that are taken in; the others' averages stay as they are.
        """
        taken = set(averaged)
        for name, value in tensors_of(self.generator).items():
            if value in taken:
                mean = self.tensors[name]
                mean.copy_(value.lerp(mean, self.decay) if value.is_floating_point() else value)

    @torch.no_grad()
    def start(self, state: Mapping[str, Any]) -> None:
        """Begin anew from a state dict of the generator."""
        for name, tensor in self.tensors.items():
            if name in state:
                tensor.copy_(state[name])

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Let the generator hold the average inside the block, and its own values, to the bit, after it."""
        tensors = tensors_of(self.generator)
        values = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        try:
            _put(tensors, self.tensors)
            yield
        finally:
            _put(tensors, values)

    def state_dict(self) -> dict[str, Any]:
        """The generator's state dict with the average in it: copies on the CPU."""
        with self.shown():
            state = self.generator.state_dict()
            return {key: value.detach().cpu().clone() if isinstance(value, Tensor) else value for key, value in state.items()}

    # files ------------------------------------------------------------------------------------------------------------------

    def save(self, folder: Path, step: int) -> None:
        """Write the average after `step` steps beside a checkpoint of these; the one before stays until `forget_before`."""
        with atomic_path(folder / f"average-step={step}.safetensors") as temporary:
            save_file({name: tensor.cpu().contiguous() for name, tensor in self.tensors.items()}, temporary)

    def load(self, folder: Path, step: int) -> bool:
        """Read the average after `step` steps; False where there is no such file, and nothing is changed then."""
        try:
            loaded = load_file(folder / f"average-step={step}.safetensors")
        except (OSError, SafetensorError):
            return False
        if {name: tensor.shape for name, tensor in loaded.items()} != {n: tensor.shape for n, tensor in self.tensors.items()}:
            return False
        _put(self.tensors, loaded)
        return True

    @staticmethod
    def forget_before(folder: Path, step: int) -> None:
        """Remove the averages of other steps, once the checkpoint of this one is written."""
        for path in folder.glob("average-step=*.safetensors"):
            if path.name != f"average-step={step}.safetensors":
                path.unlink()


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of a network by name."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


@torch.no_grad()
def _put(tensors: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(values[name])
