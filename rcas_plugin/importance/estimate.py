"""Synapse importance: the estimate, from gradients, of each weight's part in G and D for a label.

    Omega(w) = 1/N * sum_k | d D(G(z_k, f), f) / d w |        over N generated images of the old class f

The absolute value stands inside the sum: one gradient *per sample* (class-swap learning, RCAS). The gradient of a batch's sum
is another quantity: opposite signs cancel in it. The other estimators are Fisher's diagonal (the mean *squared* gradient, as in
EWC), the absolute mean gradient of the whole, and MAS's gradient of the output's squared norm.

How per-sample gradients of whole batches come about is in `per_sample.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm.auto import tqdm

from rcas_plugin.errors import RcasError
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Latents, device_of, frozen_eval, gaussian_latents, seeded
from rcas_plugin.importance.objectives import Objective
from rcas_plugin.importance.per_sample import Score, batch_gradients, gradients_one_by_one, has_identity, per_sample_gradients
from rcas_plugin.registry import objectives
from rcas_plugin.weights.accelerate import channels_last_inside
from rcas_plugin.weights.synapses import KINDS, Synapse, find_synapses

#: `per_sample`: mean |gradient|, RCAS's definition; `fisher`: mean squared gradient; `batch`: |mean gradient|, cheap, cancels;
#: `output_norm`: `per_sample` of the squared objective (MAS).
Estimator = Literal["per_sample", "fisher", "batch", "output_norm"]

#: Samples at once on a CPU: activations of more than these leave its caches, and everything gets slower.
_CPU_BATCH = 16


@dataclass(frozen=True)
class Importance:
    """The importance of every selectable weight, by role (`generator`, `discriminator`) and parameter name.

    Attributes:
        weights: one tensor a weight, in the weight's shape, at least 0.
        kinds: the kind of layer that holds it (`synapses.KINDS`).
        settings: what it was estimated with; `samples` is the number that it took.
    """

    weights: Mapping[str, Mapping[str, Tensor]]
    kinds: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def generator(self) -> Mapping[str, Tensor]:
        return self.weights[GENERATOR]

    @property
    def discriminator(self) -> Mapping[str, Tensor]:
        return self.weights[DISCRIMINATOR]


def synapse_importance(
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    labels: Sequence[int],
    num_samples: int = 2048,
    estimator: Estimator = "per_sample",
    objective: str | Objective = "adv_output",
    stop: Callable[[Importance], bool] | None = None,
    latents: Latents | None = None,
    kinds: frozenset[str] = KINDS,
    seed: int = 0,
    memory_mb: int = 512,
    progress: bool = True,
) -> Importance:
    """Estimate the importance of every weight of G and D for `labels`.

    Both networks are left as they were found. In a `torch.distributed` run the processes share the samples and all get the
    result that one would.

    Args:
        generator: G in StudioGAN's calling convention.
        discriminator: D likewise.
        labels: the labels given up; samples are drawn from them in turn.
        num_samples: N, the generated images that the mean runs over; the most, where `stop` is given.
        estimator: one of `Estimator`.
        objective: a name of `registry.objectives`, or a callable (D's outputs, labels (n,)) -> (n,).
        stop: asked after 64 samples and at each doubling; True ends the sampling there (`selection.Stable`).
        latents: draws z; standard normal of `generator.z_dim` by default.
        kinds: which weights, by kind of layer.
        seed: of the latents, which are drawn on the CPU and so equal on every device.
        memory_mb: memory for per-sample gradients; the batch size follows from it.
        progress: show a progress bar once it takes over two seconds.

    Returns:
        One tensor a weight, in the weight's shape, at least 0.

    Raises:
        RcasError: no labels, no samples, or an objective or estimator that is not known.
    """
    if not labels:
        raise RcasError("synapse_importance: labels is empty; name the labels that are given up")
    if num_samples < 1:
        raise RcasError(f"synapse_importance: num_samples is {num_samples}; it must be at least 1")
    if estimator not in get_args(Estimator):
        raise RcasError(f"synapse_importance: estimator {estimator!r} is unknown; allowed: {', '.join(get_args(Estimator))}")
    latents = latents or gaussian_latents(cast(int, generator.z_dim))
    z = latents(num_samples, torch.Generator().manual_seed(seed))
    y = torch.tensor([labels[k % len(labels)] for k in range(num_samples)])
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    synapses = {GENERATOR: find_synapses(generator, kinds), DISCRIMINATOR: find_synapses(discriminator, kinds)}
    layer_kinds = {role: {name: synapse.kind for name, synapse in of_network.items()} for role, of_network in synapses.items()}
    score = Score(generator, discriminator, objectives[objective] if isinstance(objective, str) else objective,
                  squared=estimator == "output_norm")  # fmt: skip
    sums = _Sums(score, synapses, estimator, memory_mb)

    def estimate(samples: int) -> Importance:
        total = {key: summed.clone() for key, summed in sums.total.items()}
        for summed in total.values():
            if world > 1:
                dist.all_reduce(summed)
            summed.div_(samples)
            if estimator == "batch":
                summed.abs_()
        return Importance(
            {role: {name: total[role, name] for name in of_network} for role, of_network in synapses.items()},
            layer_kinds,
            {
                "labels": list(labels),
                "samples": samples,
                "seed": seed,
                "estimator": estimator,
                "objective": objective if isinstance(objective, str) else getattr(objective, "__name__", "callable"),
            },
        )

    with (
        frozen_eval(generator, discriminator),
        seeded(seed + rank, sums.device),
        channels_last_inside(generator, discriminator),
        tqdm(total=num_samples, desc="synapse importance", unit="image", delay=2, disable=None if progress else True) as bar,
    ):
        for start, end in _stretches(num_samples, doubling=stop is not None):
            share = slice(start + (rank - start) % world, end, world)
            sums.add(z[share], y[share], bar, world)
            if stop is not None and end < num_samples and stop(estimate(end)):
                break
    return estimate(end)


def _stretches(num_samples: int, *, doubling: bool) -> Iterator[tuple[int, int]]:
    """The samples in stretches: all at once, or the first 64 and then as many again as before, doubling."""
    start, end = 0, 64 if doubling else num_samples
    while start < num_samples:
        end = min(end, num_samples)
        yield start, end
        start, end = end, 2 * end


class _Sums:
    """The running sum over samples of |gradient|, its square or itself, by (role, parameter name)."""

    def __init__(self, score: Score, synapses: Mapping[str, Mapping[str, Synapse]], estimator: Estimator, memory_mb: int) -> None:
        self.score, self.estimator, self.memory = score, estimator, memory_mb * 2**20
        self.synapses = {(role, name): synapse for role, of_network in synapses.items() for name, synapse in of_network.items()}
        self.total = {key: torch.zeros_like(synapse.weight) for key, synapse in self.synapses.items()}
        self.vectorises = all(has_identity(synapse) for synapse in self.synapses.values())
        self.device = device_of(score.generator)
        self.largest_batch = _CPU_BATCH if self.device.type == "cpu" else 256
        self.batch = min(4, self.largest_batch)  # the first batch tells what a sample costs

    def add(self, z: Tensor, labels: Tensor, bar: Any, world: int) -> None:
        """Add these samples, in batches that the memory holds."""
        done = 0
        while done < len(labels):
            part = slice(done, done + self.batch)
            size = len(labels[part])
            with torch.enable_grad():
                cost = self._add_batch(z[part].to(self.device), labels[part].to(self.device))
            bar.update(size * world)
            done += size
            self.batch = max(1, min(self.largest_batch, self.memory // max(1, cost)))

    def _add_batch(self, z: Tensor, labels: Tensor) -> int:
        """Add one batch; returns the bytes that one sample takes."""
        power = 2 if self.estimator == "fisher" else 1
        if self.estimator == "batch":
            cost = batch_gradients(self.score, self.synapses, z, labels, self.total)
        elif self.vectorises:
            cost = per_sample_gradients(self.score, self.synapses, z, labels, self.total, power)
        else:
            cost = gradients_one_by_one(self.score, self.synapses, z, labels, self.total, power)
        return cost
