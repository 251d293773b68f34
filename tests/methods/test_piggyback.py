"""Piggyback as a method: what it converts, what a task trains, lambda by layer and by task, the growth that it prints."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin import Context, Gan, RcasError, gaussian_latents
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import GENERATOR, sample_images
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.piggyback.conversion import attached_filters
from rcas_plugin.methods.piggyback.method import Piggyback
from rcas_plugin.methods.piggyback.schedule import layer_parts
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings

PLAN = LabelPlan(4, {3: 0}, {0: 1, 1: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))
IMAGES = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


def method_of(lines: list[str] | None = None, plan: LabelPlan = PLAN, **keys: Any) -> Piggyback:
    settings = parse_settings({"method": "piggyback", "swap": {3: 0}, **keys})
    log = (lambda line: None) if lines is None else lines.append
    return Piggyback(Context(settings, plan, log=log, real_images=lambda label, count: IMAGES[:count]))


def started(pair: Any, lines: list[str] | None = None, **keys: Any) -> tuple[Gan, Lifecycle]:
    """A swap of the shared pair, with a moving average, before its first step."""
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    return gan, Lifecycle.begin(method_of(lines, **keys), gan, Checkpoint.of(gan))


def trained(gan: Gan, lifecycle: Lifecycle, steps: int = 3) -> None:
    options = {"batch_size": 4, "beta1": 0.0, "g_lr": 0.01, "d_lr": 1e-5, "g_ema_decay": 0.5}
    slot = torch.tensor([3])
    loop = Loop(gan, IMAGES, torch.full((12,), 3), slot, options, torch.Generator(), lifecycle=lifecycle)
    for step in range(steps):
        loop.step(step)


def own_counts(gan: Gan) -> list[int]:
    return [filters.new.shape[filters.dim] for filters in attached_filters(gan.generator).values()]


def test_the_base_is_never_written(pair: Any) -> None:
    base = {name: tensor.clone() for name, tensor in pair[0].state_dict().items()}
    labels = torch.arange(4).repeat(3)
    images = sample_images(pair[0], labels, gaussian_latents(6))
    gan, lifecycle = started(pair)
    assert torch.equal(sample_images(gan.evaluated, labels, gan.latents), images), "it starts as the base"
    trained(gan, lifecycle)
    for generator in (gan.generator, gan.ema):
        assert generator is not None
        after = sample_images(generator, labels, gan.latents)
        assert torch.equal(after[labels != 3], images[labels != 3])
        assert (after[labels == 3] - images[labels == 3]).abs().max() > 1e-3
        for name, tensor in generator.state_dict().items():
            if name.endswith(".original"):
                assert torch.equal(tensor, base[name.replace("parametrizations.", "").removesuffix(".original")]), name
    assert torch.equal(gan.generator.linear0.weight, base["linear0.weight"])  # type: ignore[arg-type, union-attr]
    folded = Checkpoint.of(gan).folded.states["ema"]
    moved = {name for name, tensor in folded.items() if not torch.equal(tensor, base[name])}
    convolutions = {f"{name}.{part}" for name, module in Generator(6, 4, 1).named_modules()
                    if isinstance(module, nn.Conv2d) for part in ("weight", "bias")}  # fmt: skip
    assert convolutions < moved


@pytest.mark.parametrize("linear0", ["frozen", "copy"])
def test_what_a_task_trains(pair: Any, linear0: str) -> None:
    gan, lifecycle = started(pair, linear0=linear0)
    trained(gan, lifecycle, steps=1)
    names = {name for name, parameter in gan.generator.named_parameters() if parameter.grad is not None}
    convolutions = [name for name, module in gan.generator.named_modules() if isinstance(module, nn.Conv2d)]
    wanted = {f"{name}.bias" for name in convolutions} | {"bn4.weight", "bn4.bias"}
    wanted |= {f"{name}.parametrizations.weight.0.new" for name in convolutions}
    wanted |= {f"{name}.parametrizations.weight.0.mix" for name in convolutions if name != "conv2d5"}
    wanted |= {f"blocks.{block}.0.bn{number}.{part}.parametrizations.weight.0.values"
               for block in range(3) for number in (1, 2) for part in ("gain", "bias")}  # fmt: skip
    wanted |= {"linear0.weight", "linear0.bias"} if linear0 == "copy" else set()
    assert names == wanted
    judged = {name for name, parameter in gan.discriminator.named_parameters() if parameter.grad is not None}
    every = {name for name, _ in gan.discriminator.named_parameters()}
    assert every - judged == {"embedding.parametrizations.weight_orig.original"}, "D is trained, but for other labels' rows"


def test_lambda_by_layer(pair: Any) -> None:
    gan, _ = started(pair, filters={"how": "layer", "ratio": 0.5})
    assert own_counts(gan) == [*[1] * 8, 2, 3]
    assert [64 * part for part in layer_parts(10, 0.5)] == [1, 1, 1, 1, 2, 4, 8, 16, 32, 64]


def test_lambda_by_task_is_the_measured_distance(pair: Any) -> None:
    """By hand: mean features of D's layers for 12 images of the base under the slot, and for the new class's 12."""
    generator, discriminator = copy.deepcopy(pair)
    generator.eval()
    discriminator.eval()
    outputs: list[Tensor] = []
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, args, output: outputs.append(output.clone()))
    labels = torch.full((12,), 3)
    layers = []
    with torch.no_grad():
        made = generator(torch.randn(12, 6, generator=torch.Generator().manual_seed(0)), labels)
        for images in (made, IMAGES):
            outputs.clear()
            h = discriminator(images, labels)["h"]
            layers.append([output.double().mean(0) for output in [*outputs, h]])
    distances = [float((f - r).abs().sum() / (f.abs() + r.abs()).sum()) for f, r in zip(*layers, strict=True)]
    distance = sum(distances) / len(distances)
    lines: list[str] = []
    gan, _ = started(pair, lines, filters={"how": "task"})
    assert f"piggyback: distance {distance:.3f}; the bank has" in lines[-1]
    assert own_counts(gan) == [*[max(1, -(-round(64 * distance) * 4 // 64))] * 9, 3]
    assert 0 < distance < 1


def test_the_published_start(pair: Any) -> None:
    labels = torch.tensor([0, 1, 2])
    images = sample_images(pair[0], labels, gaussian_latents(6))
    gan, _ = started(pair, init="published")
    assert gan.ema is not None
    for one, other in zip(attached_filters(gan.generator).values(), attached_filters(gan.ema).values(), strict=True):
        assert torch.equal(one.new, other.new)
        assert 0 < one.new.abs().max() < 0.1
    for network in (gan.generator, gan.ema):
        assert network.blocks[0][0].conv2d1.bias.abs().sum() == 0  # type: ignore[index, union-attr]
        assert torch.equal(sample_images(network, labels, gan.latents), images), "other labels are the base's"


def test_the_growth_of_the_bank_is_printed_and_recorded(pair: Any) -> None:
    lines: list[str] = []
    _, lifecycle = started(pair, lines)
    assert lines[-1].startswith("piggyback: the bank has 39 filters; the task adds 12 (30.8%), ")
    bank = lifecycle.method.record()["bank"]
    assert (bank["filters"], bank["added"]) == (9 * 4 + 3, 9 * 1 + 3)
    assert bank["mixing_parameters"] == 9 * 4 * 3
    assert bank["filter_parameters"] == 6 * 36 + 3 * 4 + 3 * 36 + 9 * 4 + 3


def test_the_parameters_of_a_task_are_counted() -> None:
    """family.md's R32 at lambda 1/4: 943,107 and 442,368 to mix, 32.2 %; the input layer would be 12.3 %."""
    plan = LabelPlan(10, {3: 0}, {label: label for label in range(3)}, tuple("abcXefghij"), tuple("abcdefghij"))
    counts = []
    for linear0 in ("frozen", "copy"):
        gan = Gan(Generator(128, 10, 64), Discriminator(10, 2), None, gaussian_latents(128))
        method = method_of(plan=plan, linear0=linear0)
        method.gan = gan
        method.attach(gan, Checkpoint.of(gan))
        bank = method.record()["bank"]
        assert (bank["filter_parameters"], bank["mixing_parameters"]) == (943_107, 442_368)
        columns, last_norm = sum(view.numel() for view in method.slot_views(gan, GENERATOR)), 2 * 256
        counts.append(method.record()["parameters"]["generator"] - columns - last_norm)
    assert counts == [943_107 + 442_368, 943_107 + 442_368 + 129 * 4096]
    assert f"{counts[0] / 4_304_387:.1%}, {129 * 4096 / 4_304_387:.1%}" == "32.2%, 12.3%"


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        (
            {"floor": 0.1},
            r"^RCAS\.filters\.floor: it does nothing with how: fixed; leave it out, or set how to layer or mirrored$",
        ),
        ({"how": "task", "part": 0.5}, r"^RCAS\.filters\.part: it does nothing with how: task; .* set how to fixed$"),
        ({"part": 0.0}, r"^RCAS\.filters\.part: "),
        ({"how": "random"}, r"^RCAS\.filters\.how: "),
    ],
)
def test_keys_that_do_nothing_are_refused(filters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RcasError, match=sentence):
        method_of(filters=filters)


def test_a_measured_lambda_needs_images(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    settings = parse_settings({"method": "piggyback", "swap": {3: 0}, "filters": {"how": "task"}})
    with pytest.raises(RcasError, match=r"^RCAS\.filters\.how: task looks at the new class's images"):
        Lifecycle.begin(Piggyback(Context(settings, PLAN)), gan, Checkpoint.of(gan))
