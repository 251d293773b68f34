"""Synapse importance: how much each weight of G and of D serves a label.

    Omega(w) = 1/N * sum_k | d D(G(z_k, f), f) / d w |        over N generated images of the old class f

The absolute value stands inside the sum: one gradient *per sample* (class-swap learning, RCAS). The gradient of a batch's sum
is another quantity: opposite signs cancel in it.

Per-sample gradients come from the outer-product identity: the gradient of one sample for a convolution or linear layer is a
product of that sample's layer input and of the gradient at the layer's output, and both of these come for a whole batch at
once. Networks run in evaluation mode, where samples do not see each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from rcas_plugin.errors import RcasError
from rcas_plugin.gan import Latents, device_of, discriminate, frozen_eval, gaussian_latents, generate
from rcas_plugin.registry import objectives
from rcas_plugin.synapses import KINDS, Synapse, find_synapses, spectral_norm_of

#: (D's outputs, labels (n,)) -> one scalar a sample, (n,).
Objective = Callable[[Mapping[str, Any], Tensor], Tensor]

GENERATOR, DISCRIMINATOR = "generator", "discriminator"


@dataclass(frozen=True)
class Importance:
    """Mean absolute gradient of every selectable weight, by role (`generator`, `discriminator`) and parameter name."""

    weights: Mapping[str, Mapping[str, Tensor]]
    kinds: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def generator(self) -> Mapping[str, Tensor]:
        return self.weights[GENERATOR]

    @property
    def discriminator(self) -> Mapping[str, Tensor]:
        return self.weights[DISCRIMINATOR]


@objectives.register("adv_output")
def adversarial_logit(outputs: Mapping[str, Any], labels: Tensor) -> Tensor:
    """D's real/fake logit; where a conditioning has one logit a label (multi-hinge), the one of the sample's label."""
    logit = cast(Tensor, outputs["adv_output"])
    if logit.numel() == len(labels):
        return logit.reshape(-1)
    return logit.reshape(len(labels), -1).gather(1, labels[:, None]).squeeze(1)


def synapse_importance(
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    labels: Sequence[int],
    num_samples: int = 2048,
    objective: str | Objective = "adv_output",
    latents: Latents | None = None,
    kinds: frozenset[str] = KINDS,
    seed: int = 0,
    memory_mb: int = 512,
    progress: bool = True,
) -> Importance:
    """Estimate the importance of every weight of G and D for `labels`, exactly by its per-sample definition.

    Both networks are left as they were found. In a `torch.distributed` run the processes share the samples and all get the
    result that one would.

    Args:
        generator: G in StudioGAN's calling convention.
        discriminator: D likewise.
        labels: the labels given up; samples are drawn from them in turn.
        num_samples: N, the generated images that the mean runs over.
        objective: a name of `registry.objectives`, or a callable (D's outputs, labels) -> (n,).
        latents: draws z; standard normal of `generator.z_dim` by default.
        kinds: which weights, by kind of layer.
        seed: of the latents, which are drawn on the CPU and so equal on every device.
        memory_mb: memory for per-sample gradients; the batch size follows from it.
        progress: show a progress bar once it takes over two seconds.

    Returns:
        One tensor a weight, in the weight's shape, at least 0.

    Raises:
        RcasError: no labels, or an objective that is not registered.
    """
    if not labels:
        raise RcasError("synapse_importance: labels is empty; name the labels that are given up")
    if num_samples < 1:
        raise RcasError(f"synapse_importance: num_samples is {num_samples}; it must be at least 1")
    score: Objective = objectives[objective] if isinstance(objective, str) else objective
    latents = latents or gaussian_latents(cast(int, generator.z_dim))
    device = device_of(generator)
    z = latents(num_samples, torch.Generator().manual_seed(seed))
    y = torch.tensor([labels[k % len(labels)] for k in range(num_samples)])
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    z, y = z[rank::world], y[rank::world]

    synapses = {GENERATOR: find_synapses(generator, kinds), DISCRIMINATOR: find_synapses(discriminator, kinds)}
    sums = _Sums(generator, discriminator, score, synapses)
    with (
        frozen_eval(generator, discriminator),
        tqdm(total=len(y), desc="synapse importance", unit="image", delay=2, disable=None if progress else True) as bar,
    ):
        done, batch = 0, min(4, len(y))
        while done < len(y):
            part = slice(done, done + batch)
            cost = sums.add(z[part].to(device), y[part].to(device))
            bar.update(min(batch, len(y) - done))
            done += batch
            batch = max(1, min(256, memory_mb * 2**20 // max(1, cost)))
    for summed in sums.total.values():
        if world > 1:
            dist.all_reduce(summed)
        summed.div_(num_samples)
    return Importance(
        {role: {name: sums.total[role, name] for name in found} for role, found in synapses.items()},
        {role: {name: synapse.kind for name, synapse in found.items()} for role, found in synapses.items()},
        {
            "labels": list(labels),
            "samples": num_samples,
            "seed": seed,
            "estimator": "per_sample",
            "objective": objective if isinstance(objective, str) else getattr(objective, "__name__", "callable"),
        },
    )


class _Sums:
    """The running sum over samples of |gradient|, by (role, parameter name)."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        score: Objective,
        synapses: Mapping[str, Mapping[str, Synapse]],
    ) -> None:
        self.generator, self.discriminator, self.score = generator, discriminator, score
        self.synapses = {(role, name): synapse for role, found in synapses.items() for name, synapse in found.items()}
        self.total = {key: torch.zeros_like(synapse.weight) for key, synapse in self.synapses.items()}
        self.by_module = {synapse.module: key for key, synapse in self.synapses.items()}
        self.vectorises = all(_has_identity(synapse) for synapse in self.synapses.values())

    def add(self, z: Tensor, labels: Tensor) -> int:
        """Add a batch of samples; returns the bytes that one sample takes."""
        with torch.enable_grad():
            return self._add_batch(z, labels) if self.vectorises else self._add_one_by_one(z, labels)

    def _logits(self, z: Tensor, labels: Tensor) -> Tensor:
        images = generate(self.generator, z, labels)
        return self.score(discriminate(self.discriminator, images, labels), labels)

    def _add_batch(self, z: Tensor, labels: Tensor) -> int:
        with _recorded_layers(list(self.by_module)) as calls:
            logits = self._logits(z, labels).sum()
            gradients = torch.autograd.grad(logits, [call.output for call in calls], allow_unused=True)
        pairs = defaultdict(list)
        for call, gradient in zip(calls, gradients, strict=True):
            if gradient is not None:
                pairs[call.module].append((call.input, gradient))
        largest = 0
        for module, of_module in pairs.items():
            key = self.by_module[module]
            absolute, floats = _sum_of_absolute_gradients(self.synapses[key], of_module)
            self.total[key] += absolute
            largest = max(largest, floats)
        recorded = 3 * sum(call.output.numel() for call in calls) // len(labels)
        return 4 * (recorded + largest)

    def _add_one_by_one(self, z: Tensor, labels: Tensor) -> int:
        weights = [synapse.weight.requires_grad_(True) for synapse in self.synapses.values()]
        for one in range(len(labels)):
            logit = self._logits(z[one : one + 1], labels[one : one + 1]).sum()
            gradients = torch.autograd.grad(logit, weights, allow_unused=True)
            for key, gradient in zip(self.synapses, gradients, strict=True):
                if gradient is not None:
                    self.total[key] += gradient.abs()
        return 0


# the outer-product identity -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    module: nn.Module
    input: Tensor
    output: Tensor


@contextmanager
def _recorded_layers(modules: Sequence[nn.Module]) -> Iterator[list[_Call]]:
    """Record input and output of each call of the layers; the outputs are where gradients are asked for."""
    calls: list[_Call] = []

    def record(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not output.requires_grad:  # weights are frozen, so the first layer's output starts the graph
            output.requires_grad_(True)
        calls.append(_Call(module, args[0].detach(), output))
        return output.clone()  # an in-place activation that follows must not change what was recorded

    handles = [module.register_forward_hook(record) for module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _has_identity(synapse: Synapse) -> bool:
    module = synapse.module
    if type(module) in (nn.Linear, nn.Embedding):
        return True
    return bool(
        type(module) in (nn.Conv2d, nn.ConvTranspose2d)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _sum_of_absolute_gradients(synapse: Synapse, pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, int]:
    """Sum over samples of |gradient| of one weight, and the floats that one sample took.

    `pairs` holds (input, gradient at the output) of each call of the layer.
    """
    weight, module = synapse.weight, synapse.module
    norm = spectral_norm_of(module)
    if norm is None and len(pairs) == 1:
        inputs, gradient = pairs[0]
        if isinstance(module, nn.Linear) and inputs.dim() == 2:  # |g a^T| = |g| |a|^T
            return gradient.abs().T @ inputs.abs(), 0
        if isinstance(module, nn.Embedding) and inputs.dim() == 1:
            return torch.zeros_like(weight).index_add_(0, inputs, gradient.abs()), 0
    parts = [_per_sample_gradient(module, weight, inputs, gradient) for inputs, gradient in pairs]
    each = parts[0][0] if len(parts) == 1 else torch.stack([part[0] for part in parts]).sum(0)
    cost = sum(part[1] for part in parts)
    if norm is not None:
        # the layer uses W = weight / sigma, and sigma depends on the weight:
        # dL/dweight = (dL/dW - <dL/dW, W> u v^T) / sigma
        sigma = norm.sigma(weight)
        along = each.flatten(1) @ (weight / sigma).flatten()
        each = (each - along.view(-1, *[1] * weight.dim()) * norm.outer(weight)) / sigma
        cost *= 2
    return torch.linalg.vector_norm(each, ord=1, dim=0), cost


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
    if isinstance(module, nn.ConvTranspose2d):  # the convolution that it transposes runs from the output to the input
        small, large = inputs, gradient
    else:
        small, large = gradient, inputs
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    size = cast("tuple[int, int]", module.kernel_size)
    patches = F.unfold(
        large,
        size,
        dilation=cast("tuple[int, int]", module.dilation),
        padding=cast("tuple[int, int]", module.padding),
        stride=cast("tuple[int, int]", module.stride),
    )
    wide = small.flatten(2)
    each = torch.bmm(wide, patches.mT)
    return each.view(n, *weight.shape), each[0].numel() + patches[0].numel()
