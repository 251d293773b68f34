"""One generator of all swaps of a lineage: each label's images come from the state in which its class was made.

`Router` is such a generator as a network of its own. `route_by_label` makes one of a network in training, for methods whose tasks
lie apart: in evaluation mode each label is made by its own state, in training mode the network is what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

    Each state that a batch needs makes the whole batch, and each image is taken from its own: images are those that a generator
    of the state makes of the same batch, to the bit, whatever the other labels' states are. The generator's own parameters and
    buffers are neither used nor changed. Everything is evaluated in evaluation mode; nothing can be trained.

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
        # copied: kernels compute other last bits where memory is aligned otherwise than a network's own
        self.states = [{key: value.detach().to(expected[key], copy=True) for key, value in state.items()} for state in states]
        self.register_buffer("_routes", torch.tensor(routes, dtype=torch.long, device=some.device), persistent=False)

    def forward(self, z: Tensor, labels: Tensor, eval: bool = True) -> Tensor:
        """Images (n, channels, height, width) for latents (n, z_dim) and labels (n,), or one-hot (n, labels)."""
        numbers = labels.argmax(1) if labels.dim() > 1 else labels

        def made_by(index: int, inner: Tensor) -> Tensor:
            taken = as_taken(self.generator, inner)
            return functional_call(self.generator, self.states[index], (z, taken), {"eval": eval})  # type: ignore[no-any-return]

        with frozen_eval(self.generator):
            return made_by_state(self._routes[numbers], made_by)  # type: ignore[index]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move the states wherever the module moves (`to`, `cuda`, `half`)."""
        self.states = [{key: fn(value) for key, value in state.items()} for state in self.states]
        return super()._apply(fn, recurse)


def made_by_state(rows: Tensor, made_by: Callable[[int, Tensor], Tensor], states: Iterable[int] | None = None) -> Tensor:
    """Images (n, channels, height, width), each from the state of its row; every state that is needed makes the whole batch.

    Args:
        rows: (n, 2), the state of each image and the label's number in it.
        made_by: (state, labels (n,)) -> the batch's images as the state makes them.
        states: those that make the batch; by default the ones that it needs, which ONNX cannot ask for.
    """
    images: Tensor | None = None
    for index in rows[:, 0].unique().tolist() if states is None else states:
        made = made_by(index, rows[:, 1])
        images = made if images is None else torch.where((rows[:, 0] == index)[:, None, None, None], made, images)
    assert images is not None
    return images


class LabelRouting:
    """The forward pass of a generator in training whose labels, in evaluation mode, are made by the states of their own.

    In training mode, and inside `alone`, the pass is the network's own. It is no module: the network's state dict, parameters and
    buffers are those that it had.

    Args:
        generator: the network; it makes the labels whose route has a state behind the last one of `before`.
        before: the states of the base and of the tasks before.
        routes: for each label the index into `before.states` (or their number, for the network itself), and its number there.
    """

    def __init__(self, generator: nn.Module, before: Router, routes: Sequence[tuple[int, int]]) -> None:
        self.generator, self.before, self.bypassed = generator, before, False
        self.rows = torch.tensor(routes, dtype=torch.long)

    def __call__(self, z: Tensor, label: Tensor | None, *args: Any, **kwargs: Any) -> Tensor:
        """The images of the pass; arguments are the network's."""
        forward = type(self.generator).forward
        if self.generator.training or self.bypassed:
            return forward(self.generator, z, label, *args, **kwargs)  # type: ignore[no-any-return]
        if label is None:
            raise RcasError("a mixture of labels belongs to no task, and so no state of the generator makes its images")
        rows = self.rows.to(label.device)[label.argmax(1) if label.dim() > 1 else label]

        def made_by(index: int, inner: Tensor) -> Tensor:
            taken = as_taken(self.generator, inner)
            if index < len(self.before.states):
                call = (self.before.generator, self.before.states[index], (z, taken, *args), kwargs)
                return functional_call(*call)  # type: ignore[no-any-return]
            with frozen_eval(self.generator):  # upstream trains convolutions as it evaluates, and spectral norm would iterate
                return forward(self.generator, z, taken, *args, **kwargs)  # type: ignore[no-any-return]

        with frozen_eval(self.before.generator):
            return made_by_state(rows, made_by)


def route_by_label(
    networks: Iterable[nn.Module], plain: nn.Module, states: Sequence[Mapping[str, Tensor]], routes: Sequence[tuple[int, int]]
) -> None:
    """Let networks make each label by a state of the label's own, in evaluation mode.

    Args:
        networks: G, and its moving average.
        plain: a network of their class without adapters, on their device; its weights are not used. Nobody else may use it.
        states: plain state dicts of the base and of the tasks before.
        routes: for each label the index into `states` (or their number, for the network itself), and its number there.
    """
    used = sorted({state for state, _ in routes if state < len(states)})
    places = {state: place for place, state in enumerate(used)}
    before = Router(plain, [states[state] for state in used], [(0, 0)] * len(routes))
    rows = [(places.get(state, len(used)), label) for state, label in routes]
    for network in networks:
        network.forward = LabelRouting(network, before, rows)


def routing_of(generator: nn.Module) -> LabelRouting | None:
    """The routing of a network; None where it has none."""
    forward = vars(generator).get("forward")
    return forward if isinstance(forward, LabelRouting) else None


@contextmanager
def alone(generator: nn.Module) -> Iterator[None]:
    """Let a network that is routed by label make every label itself inside the block, in evaluation mode too."""
    routing = routing_of(generator)
    if routing is None:
        yield
        return
    before, routing.bypassed = routing.bypassed, True
    try:
        yield
    finally:
        routing.bypassed = before


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
