"""One generator of all swaps of a lineage: each label's images come from the state in which its class was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rcas_plugin.checkpoints.folder import read_states
from rcas_plugin.checkpoints.lineage import Route, read_lineage
from rcas_plugin.errors import RcasError
from rcas_plugin.gan import as_taken, frozen_eval


class Router(nn.Module):
    """A generator in StudioGAN's calling convention that makes each label's images with a state of the label's own.

    A batch whose labels share a state gives the very images that a generator with this state gives. A mixed one goes through in a
    part a state: images are those of a generator that is shown that part alone. The generator's own parameters and buffers are
    neither used nor changed. Everything is evaluated in evaluation mode; nothing can be trained.

    Args:
        generator: a plain one (without adapters); its class computes, on its device.
        states: its state dicts, complete.
        routes: for each label the index into `states`, and the label's number in that state.

    Raises:
        RcasError: a state is not of this generator, which is so where swaps have changed the number of labels.
    """

    def __init__(self, generator: nn.Module, states: Sequence[Mapping[str, Tensor]], routes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        expected = generator.state_dict()
        for index, state in enumerate(states):
            differing = [
                key
                for key in {**expected, **state}
                if key not in expected or key not in state or expected[key].shape != state[key].shape
            ]
            if differing:
                raise RcasError(
                    f"state {index} of the lineage has another {differing[0]} than the generator; swaps that change the number "
                    "of labels cannot share one: load each state into a generator of its own (checkpoints.lineage.read_lineage)"
                )
        self.generator = generator
        some = next(iter(expected.values()))
        self.states = [{key: value.detach().to(expected[key]) for key, value in state.items()} for state in states]
        self.register_buffer("_routes", torch.tensor(routes, dtype=torch.long, device=some.device), persistent=False)

    def forward(self, z: Tensor, labels: Tensor, eval: bool = True) -> Tensor:
        """Images (n, channels, height, width) for latents (n, z_dim) and labels (n,), or one-hot (n, labels)."""
        routes = self._routes[labels.argmax(1) if labels.dim() > 1 else labels]  # type: ignore[index]
        parts, places = [], []
        with frozen_eval(self.generator):
            for index in routes[:, 0].unique().tolist():
                place = (routes[:, 0] == index).nonzero()[:, 0]
                state_labels = as_taken(self.generator, routes[place, 1])
                parts.append(functional_call(self.generator, self.states[index], (z[place], state_labels), {"eval": eval}))
                places.append(place)
        images: Tensor = torch.cat(parts)[torch.cat(places).argsort()]
        return images

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move the states wherever the module moves (`to`, `cuda`, `half`)."""
        self.states = [{key: fn(value) for key, value in state.items()} for state in self.states]
        return super()._apply(fn, recurse)


def load_router(folder: str | Path, generator: nn.Module, *, best: bool = False) -> Router:
    """A generator of every class that a lineage of swaps made, each as it was when its own swap ended; from a run's folder alone.

    A label is shown by the state right after the newest swap that made its class: of an earlier swap, its task; of the last one,
    the run's checkpoint. Labels that were never swapped are shown by the base, the pre-trained generator. After `fine_tune` and
    `class_swap`, which train weights that all labels share, this means that no class suffers from later swaps, at the price of a
    whole generator a swap; the labels' images then come from different generators.

    Args:
        folder: of the last run.
        generator: a plain one of its config; see `Router`.
        best: take the run's best checkpoint and not the newest.

    Raises:
        RcasError: see `read_lineage` and `Router`.
    """
    lineage = read_lineage(folder)
    last = read_states(folder, best=best, folded=True)["ema"]
    return Router(generator, [*lineage.states, last], [Route(*route) for route in lineage.routes])
