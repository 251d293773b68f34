"""How much faster `synapse_importance` is than the loop that defines it: one backward pass a sample, same machine, same run.

    python scripts/bench_importance.py

The GAN is the quickstart's (configs/digits/pretrain.yaml), with the weights that a checkpoint holds or newly drawn.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rcas_plugin import synapse_importance
from rcas_plugin.embedded.loop import load_gan
from rcas_plugin.files import write_json
from rcas_plugin.gan import DISCRIMINATOR, GENERATOR, Gan, frozen_eval
from rcas_plugin.importance.estimate import Importance
from rcas_plugin.studiogan.locate import REPOSITORY
from rcas_plugin.watch.machine import describe_run
from rcas_plugin.weights.accelerate import keep_freed_memory
from rcas_plugin.weights.synapses import find_synapses


def loop(gan: Gan, label: int, samples: int) -> dict[str, Tensor]:
    """The definition: mean over samples of |gradient of D's logit|, one backward pass a sample."""
    networks = {GENERATOR: gan.generator, DISCRIMINATOR: gan.discriminator}
    weights = {
        f"{role}/{name}": synapse.weight for role, network in networks.items() for name, synapse in find_synapses(network).items()
    }
    device = next(gan.generator.parameters()).device
    z = gan.latents(samples, torch.Generator().manual_seed(0)).to(device)
    y = torch.full((1,), label, device=device)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with frozen_eval(gan.generator, gan.discriminator):
        for weight in weights.values():
            weight.requires_grad_(True)
        for k in range(samples):
            logit = gan.discriminator(gan.generator(z[k : k + 1], y, eval=True), y, eval=True)["adv_output"].sum()
            for summed, gradient in zip(total.values(), torch.autograd.grad(logit, list(weights.values())), strict=True):
                summed.add_(gradient.abs())
    return {name: summed / samples for name, summed in total.items()}


def timed(run: Callable[[], Any], device: torch.device, repeats: int) -> tuple[float, Any]:
    """The best of some runs, in seconds, and what the last one returned."""
    best, result = float("inf"), None
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        result = run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best, result


def arithmetic_rate(device: torch.device) -> float:
    """Floating-point operations a second of this network's largest convolution, forward, 16 images: what could be had at best."""
    layer = torch.nn.Conv2d(32, 32, 3, padding=1).to(device)
    images = torch.randn(16, 32, 32, 32, device=device)
    with torch.no_grad():
        layer(images)
        seconds, _ = timed(lambda: [layer(images) for _ in range(50)], device, 5)
    return 50 * 16 * 2 * 9 * 32 * 32 * 32 * 32 / seconds


def measure(device: torch.device, *, ckpt: Path | None, samples: int, repeats: int, tf32: bool) -> dict[str, Any]:
    """The loop's seconds, each estimator's, how far `per_sample` is from the loop, and what the arithmetic alone would take.

    Args:
        device: where it is computed.
        ckpt: a checkpoint of the quickstart's config; None: newly drawn weights.
        samples: generated images.
        repeats: of which the best counts.
        tf32: whether a GPU's convolutions may round to it, as torch has them do by default.
    """
    torch.backends.cudnn.allow_tf32 = tf32
    keep_freed_memory()  # as a run of StudioGAN's does under the plugin; the loop has it too
    gan = load_gan(REPOSITORY / "configs" / "digits" / "pretrain.yaml", ckpt)
    gan.generator.to(device)
    gan.discriminator.to(device)
    label = 8
    loop(gan, label, min(16, samples))  # warm
    slow, expected = timed(lambda: loop(gan, label, samples), device, max(1, repeats // 2))
    rows = {}
    for estimator in ("per_sample", "fisher", "batch", "output_norm"):
        estimate = functools.partial(synapse_importance, gan.generator, gan.discriminator, labels=[label], estimator=estimator,
                                     num_samples=samples, memory_mb=2048, progress=False)  # fmt: skip
        seconds, found = timed(estimate, device, repeats)
        rows[estimator] = {"seconds": seconds, "times_faster_than_the_loop": slow / seconds}
        if estimator == "per_sample":
            rows[estimator]["relative_to_the_loop"] = largest_error(found, expected)
        print(f"{estimator:12} {seconds:8.3f} s for {samples} samples, {slow / seconds:5.1f} times the loop's speed")
    # forward, backward to the activations and to the weights: three times the forward pass's multiply-adds, each two operations
    operations = 3 * forward_operations(gan, label)
    bound = operations * samples / arithmetic_rate(device)
    print(
        f"{operations / 1e6:.0f} million operations a sample; at the rate of this device's convolutions {bound:.3f} s, "
        f"{slow / bound:.1f} times the loop's speed"
    )
    gan.generator.double()
    gan.discriminator.double()
    draw = gan.latents
    gan.latents = lambda n, source: draw(n, source).double()
    some = min(32, samples)
    exact = synapse_importance(
        gan.generator, gan.discriminator, labels=[label], num_samples=some, latents=gan.latents, progress=False
    )
    rows["per_sample"]["relative_to_the_loop_in_float64"] = largest_error(exact, loop(gan, label, some))
    print(f"{'loop':12} {slow:8.3f} s; per_sample equals it to a relative {rows['per_sample']['relative_to_the_loop']:.1e}, "
          f"in float64 to {rows['per_sample']['relative_to_the_loop_in_float64']:.1e}")  # fmt: skip
    bounds = {"operations_a_sample": operations, "bound_seconds": bound, "bound_times_faster": slow / bound}
    return {"device": str(device), "samples": samples, "loop_seconds": slow, **rows, **bounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path, default=None, help="a checkpoint of the quickstart; newly drawn weights by default")
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-tf32", action="store_true", help="convolutions of a GPU in whole float32")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "outputs" / "bench_importance.json")
    args = parser.parse_args()
    figures = measure(
        torch.device(args.device), ckpt=args.ckpt, samples=args.samples, repeats=args.repeats, tf32=not args.no_tf32
    )
    write_json(args.out, {**describe_run(), **figures})


def largest_error(found: Importance, expected: dict[str, Tensor]) -> float:
    """The largest difference of any weight's importance, of the largest importance in its tensor."""
    errors = []
    for name, value in expected.items():
        role, _, parameter = name.partition("/")
        errors.append(float((found.weights[role][parameter] - value).abs().max() / value.abs().max().clamp_min(1e-12)))
    return max(errors)


def forward_operations(gan: Gan, label: int) -> float:
    """Floating-point operations of one sample's way through G and D."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(gan.generator.parameters()).device
    z, y = gan.latents(1, torch.Generator().manual_seed(0)).to(device), torch.full((1,), label, device=device)
    with frozen_eval(gan.generator, gan.discriminator), FlopCounterMode(display=False) as counter:
        gan.discriminator(gan.generator(z, y, eval=True), y, eval=True)
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()
