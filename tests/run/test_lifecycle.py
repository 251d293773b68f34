"""The order of a method's calls, and what the life cycle keeps in step with what a method trains."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin import Batch, Context
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.base import Method
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings

from ..shared import begin, go_on

PLAN = LabelPlan(4, {3: 0}, {1: 1, 2: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))


class Told(Method):
    """Writes down every call; trains D alone in its first step, and G's last convolution beside it afterwards."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.calls: list[str] = []
        self.batches: list[Batch] = []
        self.first = True

    def attach(self, gan: Gan, checkpoint: Checkpoint) -> None:
        self.calls.append("attach")
        super().attach(gan, checkpoint)

    def load(self, gan: Gan, checkpoint: Checkpoint) -> None:
        self.calls.append("load")
        super().load(gan, checkpoint)

    def prepare(self, gan: Gan) -> None:
        self.calls.append("prepare" if self.retained is None else "prepare, with the kept generator")

    def trained(self, gan: Gan) -> Iterable[nn.Parameter]:
        later: list[nn.Parameter] = [] if self.first else list(gan.generator.conv2d5.parameters())  # type: ignore[union-attr]
        return [*gan.discriminator.parameters(), *later]

    def averaged(self, gan: Gan) -> Iterable[Tensor]:
        return list(gan.generator.conv2d5.parameters())  # type: ignore[union-attr]

    def slot_views(self, gan: Gan, role: str) -> list[Tensor]:
        self.calls.append(f"slot_views of {role}")
        return super().slot_views(gan, role)

    def generator_loss(self, batch: Batch) -> Tensor | None:
        self.calls.append("generator_loss")
        self.batches.append(batch)
        return super().generator_loss(batch)

    def discriminator_loss(self, batch: Batch) -> Tensor | None:
        self.calls.append("discriminator_loss")
        self.batches.append(batch)
        return None

    def after_step(self, step: int) -> None:
        self.calls.append(f"after_step {step}")
        self.first = False

    def finish(self, gan: Gan) -> None:
        self.calls.append("finish")


def told(**section: Any) -> Told:
    settings = parse_settings({"method": "fine_tune", "swap": {3: 0}, **section})
    return Told(Context(settings, PLAN, seed=1, log=lambda line: None))


def loop_of(gan: Gan, lifecycle: Lifecycle) -> Loop:
    images, live = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1, torch.tensor(PLAN.live)
    options = {"batch_size": 4, "beta1": 0.0, "g_lr": 0.01, "d_lr": 0.01, "g_ema_decay": 0.5}
    return Loop(gan, images, live[torch.arange(12) % 3], live, options, torch.Generator().manual_seed(0), lifecycle=lifecycle)


def test_every_call_comes_in_its_turn(pair: Any) -> None:
    fresh = Gan(*copy.deepcopy(pair), None, gaussian_latents(6))
    gan = Gan(*pair, None, gaussian_latents(6))
    method = told(retain=1.0, label_lr={"generator": 2.0, "discriminator": 2.0})
    loop = loop_of(gan, begin(method, gan))
    loop.step(0)
    loop.step(1)
    assert loop.lifecycle is not None
    loop.lifecycle.finish()
    step = ["discriminator_loss", "generator_loss", "after_step {}"]
    assert method.calls == [
        "attach", "load", "prepare, with the kept generator", "slot_views of generator", "slot_views of discriminator",
        *(call.format(0) for call in step), *(call.format(1) for call in step), "finish",
    ]  # fmt: skip

    again = told()
    go_on(again, fresh, Checkpoint.of(gan).states)
    assert again.calls == ["attach"], "a run that goes on has its values from its checkpoint"


def test_the_batch_holds_what_the_losses_saw(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    method = told()
    loop_of(gan, begin(method, gan)).step(0)
    of_discriminator, of_generator = method.batches
    assert of_discriminator.real_outputs is not None
    assert of_discriminator.fake_outputs is not None
    assert of_discriminator.real_outputs["adv_output"].shape == of_discriminator.fake_outputs["adv_output"].shape == (4,)
    assert of_generator.real_outputs is of_generator.real_images is None
    for batch in method.batches:
        assert batch.latents is not None
        assert batch.raw_fakes is not None
        assert (batch.step, batch.latents.shape, batch.raw_fakes.shape) == (0, (4, 6), (4, 3, 32, 32))
    assert of_generator.raw_fakes is not None
    assert of_generator.latents is not None
    assert not torch.equal(of_generator.latents, of_discriminator.latents)  # type: ignore[arg-type]
    with torch.no_grad():  # G has not changed in the step, and its batch norm was in training mode
        made = gan.generator(of_generator.latents, of_generator.fake_labels)
    torch.testing.assert_close(made, of_generator.raw_fakes.detach())


def test_the_optimisers_follow_what_is_trained(pair: Any) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    lifecycle = begin(told(), gan)
    loop = loop_of(gan, lifecycle)
    last = set(gan.generator.conv2d5.parameters())  # type: ignore[union-attr]
    before = copy.deepcopy(gan.generator.state_dict())
    average = copy.deepcopy(gan.ema.state_dict())  # type: ignore[union-attr]

    def moved(network: nn.Module, than: dict[str, Tensor]) -> set[str]:
        names = {name for name, _ in network.named_parameters()}
        return {name for name, value in network.state_dict().items() if name in names and not torch.equal(value, than[name])}

    assert lifecycle.freezes
    loop.step(0)
    assert not moved(gan.generator, before)
    assert not any(group["params"] for group in loop.optimizers["generator"].param_groups if not last)
    loop.step(1)
    assert moved(gan.generator, before) == {"conv2d5.weight", "conv2d5.bias"}
    held = {parameter for group in loop.optimizers["generator"].param_groups for parameter in group["params"]}
    assert held == last
    assert gan.ema is not None
    changed = {name for name, value in gan.ema.state_dict().items() if not torch.equal(value, average[name])}
    assert changed == {"conv2d5.weight", "conv2d5.bias"}, "what averaged leaves out stays, buffers too"
    gan.generator.requires_grad_(True)  # as upstream does at each turn
    lifecycle.freeze(gan.generator)
    assert {parameter for parameter in gan.generator.parameters() if parameter.requires_grad} == last


def test_the_moving_average_is_upstreams(pair: Any) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    assert gan.ema is not None
    method = Method(told().context)
    loop = loop_of(gan, begin(method, gan))
    before = {name: value.clone() for name, value in gan.ema.state_dict().items()}
    loop.step(0)
    for name, value in gan.ema.state_dict().items():
        source = gan.generator.state_dict()[name]
        by_hand = source if name.endswith("num_batches_tracked") else 0.5 * source.double() + 0.5 * before[name].double()
        torch.testing.assert_close(value.double(), by_hand.double(), rtol=1e-6, atol=1e-7)
    assert any(not torch.equal(value, before[name]) for name, value in gan.ema.state_dict().items())


@pytest.mark.parametrize("retain", [0.0, 1.0])
def test_the_generator_is_kept_before_it_is_edited(pair: Any, retain: float) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    pretrained = copy.deepcopy(gan.generator.state_dict())

    class Editing(Method):
        def prepare(self, gan: Gan) -> None:
            with torch.no_grad():
                gan.generator.conv2d5.weight.zero_()  # type: ignore[union-attr, operator]

    method = Editing(told(retain=retain).context)
    begin(method, gan)
    assert (method.retained is None) is (retain == 0)
    if method.retained is not None:
        assert all(
            torch.equal(value, pretrained[name]) for name, value in method.retained.pretrained.generator.state_dict().items()
        )
