"""One gradient a sample for every weight of G and D, for whole batches at once.

The gradient of one sample for a convolution or a linear layer is a product of that sample's layer input and of the gradient at
the layer's output (the outer-product identity), and both of these come for a whole batch from one forward and one backward pass.
Networks run in evaluation mode, where samples do not see each other.

For convolutions the product is a convolution itself. On a CPU it is taken as the weight gradient of one convolution with the
samples side by side as groups, which runs several times faster there than unfolding the input. A GPU gets the unfolded matrix
product; that has not been timed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcas_plugin.gan import discriminate, generate
from rcas_plugin.importance.objectives import Objective
from rcas_plugin.weights.synapses import Synapse, spectral_norm_of

Key = tuple[str, str]


@dataclass(frozen=True)
class Score:
    """A module from latents and labels to one scalar a sample, through G, D and the objective."""

    generator: nn.Module
    discriminator: nn.Module
    objective: Objective
    squared: bool = False

    def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
        value = self.objective(discriminate(self.discriminator, generate(self.generator, z, labels), labels), labels)
        return value.square() if self.squared else value


def has_identity(synapse: Synapse) -> bool:
    """True where the layer's per-sample gradient follows from its input and the gradient at its output."""
    module = synapse.module
    if type(module) in (nn.Linear, nn.Embedding):
        return True
    return bool(
        type(module) in (nn.Conv2d, nn.ConvTranspose2d) and module.padding_mode == "zeros" and not isinstance(module.padding, str)
    )


def batch_gradients(score: Score, synapses: Mapping[Key, Synapse], z: Tensor, labels: Tensor, total: Mapping[Key, Tensor]) -> int:
    """Add the gradient of the samples' sum to `total`; returns the bytes that a sample takes (unknown, 0)."""
    weights = [synapse.weight.requires_grad_(True) for synapse in synapses.values()]
    gradients = torch.autograd.grad(score(z, labels).sum(), weights, allow_unused=True)
    for key, gradient in zip(synapses, gradients, strict=True):
        if gradient is not None:
            total[key].add_(gradient)
    return 0


def gradients_one_by_one(
    score: Score, synapses: Mapping[Key, Synapse], z: Tensor, labels: Tensor, total: Mapping[Key, Tensor], power: int
) -> int:
    """Add each sample's |gradient| ** power, by one backward pass a sample: for layers of any type."""
    weights = [synapse.weight.requires_grad_(True) for synapse in synapses.values()]
    for k in range(len(labels)):
        gradients = torch.autograd.grad(score(z[k : k + 1], labels[k : k + 1]).sum(), weights, allow_unused=True)
        for key, gradient in zip(synapses, gradients, strict=True):
            if gradient is not None:
                total[key].add_(gradient.abs() if power == 1 else gradient.square())
    return 0


def per_sample_gradients(
    score: Score, synapses: Mapping[Key, Synapse], z: Tensor, labels: Tensor, total: Mapping[Key, Tensor], power: int
) -> int:
    """Add each sample's |gradient| ** power, for all samples at once; returns the bytes that a sample takes."""
    keys = {synapse.module: key for key, synapse in synapses.items()}
    recorder = _Recorder(keys)
    largest = 0

    def consume(module: nn.Module, pairs: list[tuple[Tensor, Tensor]]) -> None:
        nonlocal largest
        key = keys[module]
        summed, floats = _sum_over_samples(synapses[key], pairs, power)
        total[key].add_(summed)
        largest = max(largest, floats)

    with recorder.recording():
        value = score(z, labels).sum()
    recorder.consume = consume
    value.backward()
    recorder.consume_rest()
    return 4 * (3 * recorder.floats // len(labels) + largest)


# recording --------------------------------------------------------------------------------------------------------------


class _Recorder:
    """Inputs of the layers' calls and gradients at their outputs, handed on as soon as a layer has all of its own.

    They are not kept to the end of the backward pass: memory that was just used is in the cache, and fresh memory is slow.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.modules = list(modules)
        self.calls: Counter[nn.Module] = Counter()
        self.pairs: defaultdict[nn.Module, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        self.floats = 0
        self.consume: Callable[[nn.Module, list[tuple[Tensor, Tensor]]], None] | None = None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Watch the layers in the forward pass that runs inside."""
        handles = [module.register_forward_hook(self._record) for module in self.modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def consume_rest(self) -> None:
        """Hand on the records of layers of which only some calls had a gradient."""
        for module in list(self.pairs):
            self._hand_on(module)

    def _record(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not output.requires_grad:  # weights are frozen, so a first layer's output starts the graph;
            output = output.requires_grad_(True).clone()  # the clone may be changed in place by what follows
        inputs = args[0].detach()
        self.calls[module] += 1
        self.floats += output.numel()

        def receive(gradient: Tensor) -> None:  # at this value, even where an activation changes it in place later
            self.pairs[module].append((inputs, gradient))
            if len(self.pairs[module]) == self.calls[module]:
                self._hand_on(module)

        output.register_hook(receive)
        return output

    def _hand_on(self, module: nn.Module) -> None:
        assert self.consume is not None
        self.consume(module, self.pairs.pop(module))


# the outer-product identity -----------------------------------------------------------------------------------------------


def _sum_over_samples(synapse: Synapse, pairs: list[tuple[Tensor, Tensor]], power: int) -> tuple[Tensor, int]:
    """Sum over samples of |gradient| ** power of one weight, and the floats that one sample took.

    `pairs` holds (input, gradient at the output) of each call of the layer.
    """
    weight, module = synapse.weight, synapse.module
    norm = spectral_norm_of(module)
    if norm is None and len(pairs) == 1:
        inputs, gradient = pairs[0]
        if isinstance(module, nn.Linear) and inputs.dim() == 2:  # |g a^T| = |g| |a|^T
            return _power(gradient, power).T @ _power(inputs, power), 0
        if isinstance(module, nn.Embedding) and inputs.dim() == 1:
            return torch.zeros_like(weight).index_add_(0, inputs, _power(gradient, power)), 0
    parts = [_per_sample_gradient(module, weight, inputs, gradient) for inputs, gradient in pairs]
    each = parts[0][0] if len(parts) == 1 else torch.stack([part[0] for part in parts]).sum(0)
    cost = sum(part[1] for part in parts)
    if norm is not None:
        # the layer uses W = weight / sigma, and sigma depends on the weight:
        # dL/dweight = (dL/dW - <dL/dW, W> u v^T) / sigma
        sigma = norm.sigma(weight)
        along = each.flatten(1) @ (weight / sigma).flatten()
        each = each.sub_(along.view(-1, *[1] * weight.dim()) * norm.outer(weight)).div_(sigma)
        cost *= 2
    each = each.abs_() if power == 1 else each.square_()
    return (each.new_ones(len(each)) @ each.flatten(1)).view_as(weight), cost  # several times faster than sum(0) on a CPU


def _power(value: Tensor, power: int) -> Tensor:
    return value.abs() if power == 1 else value.square()


def _per_sample_gradient(module: nn.Module, weight: Tensor, inputs: Tensor, gradient: Tensor) -> tuple[Tensor, int]:
    """Gradient of one call for the layer's weight, sample by sample: (n, *weight.shape); and floats a sample."""
    n = len(gradient)
    if isinstance(module, nn.Linear):
        each = torch.einsum("n...o,n...i->noi", gradient, inputs)
        return each, each[0].numel()
    if isinstance(module, nn.Embedding):
        one_hot = F.one_hot(inputs.reshape(n, -1), len(weight)).to(gradient.dtype)
        each = torch.einsum("nlk,nld->nkd", one_hot, gradient.reshape(n, -1, weight.shape[1]))
        return each, each[0].numel()
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    if set(module.kernel_size) == set(module.stride) == {1} and set(module.padding) == {0} and module.groups == 1:
        # a 1x1 convolution is a linear layer at each pixel
        small, large = (inputs, gradient) if isinstance(module, nn.ConvTranspose2d) else (gradient, inputs)
        each = torch.bmm(small.flatten(2), large.flatten(2).mT).view(n, *weight.shape)
        return each, each[0].numel()
    if inputs.device.type == "cpu" or module.groups > 1:
        return _grouped(module, weight, inputs, gradient)
    return _unfolded(module, weight, inputs, gradient)


def _grouped(module: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, inputs: Tensor, gradient: Tensor) -> tuple[Tensor, int]:
    """Per-sample gradients by one grouped convolution, a group a sample: its weight gradient holds one block a sample."""
    n, transposed = len(gradient), isinstance(module, nn.ConvTranspose2d)
    side_by_side = [value.contiguous().view(1, -1, *value.shape[2:]) for value in (gradient, inputs)]
    blocks = torch.ops.aten.convolution_backward(
        *side_by_side,
        weight.new_empty(n * len(weight), *weight.shape[1:]),
        None,
        cast(Any, module.stride),
        cast(Any, module.padding),
        cast(Any, module.dilation),
        transposed,
        cast(Any, module.output_padding),
        n * module.groups,
        [False, True, False],
    )[1]
    each = cast(Tensor, blocks).view(n, *weight.shape)
    return each, 2 * each[0].numel()


def _unfolded(module: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, inputs: Tensor, gradient: Tensor) -> tuple[Tensor, int]:
    """Per-sample gradients as each sample's matrix of patches times the gradient at the output."""
    # a transposed convolution runs the other way: the convolution that it transposes goes from its output to its input
    small, large = (inputs, gradient) if isinstance(module, nn.ConvTranspose2d) else (gradient, inputs)
    patches = F.unfold(
        large,
        cast("tuple[int, int]", module.kernel_size),
        dilation=cast("tuple[int, int]", module.dilation),
        padding=cast("tuple[int, int]", module.padding),
        stride=cast("tuple[int, int]", module.stride),
    )
    each = torch.bmm(small.flatten(2), patches.mT).view(len(small), *weight.shape)
    return each, each[0].numel() + patches[0].numel()
