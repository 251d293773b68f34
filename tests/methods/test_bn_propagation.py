"""BN propagation on the embedded networks: its stages, its parameters, other numbers of labels."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import Batch, Context, RcasError
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import Gan, gaussian_latents, sample_images
from rcas_plugin.labels import DataClasses, LabelPlan, resolve_labels
from rcas_plugin.methods.bn_propagation.adapter import PropagatedParameters, propagations
from rcas_plugin.methods.bn_propagation.method import BnPropagation, stages_of
from rcas_plugin.methods.class_swap.method import ClassSwap
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.weights.adapters import table_of

from ..shared import begin, go_on

CLASSES = DataClasses(tuple("abcdefg"), (500,) * 7)
OPTIONS = {"batch_size": 4, "beta1": 0.0}


def method_for(num_classes: int, total_steps: int = 4, **section: Any) -> BnPropagation:
    how = {"method": "bn_propagation", "labels": list("abcd"), "label_start": {"how": "mean"}}
    settings = parse_settings({**how, **section})
    plan = resolve_labels(settings, num_classes, CLASSES, num_before=4)
    lines: list[str] = []
    context = Context(
        settings, plan, 1, total_steps, log=lines.append, real_images=lambda label, n: torch.rand(n, 3, 32, 32) - 0.5
    )
    method = BnPropagation(context)
    method.lines = lines  # type: ignore[attr-defined]
    return method


def loaded(pair: Any, method: BnPropagation, *, ema: bool = False) -> Gan:
    """Networks of the plan's labels with the shared pair's weights in them."""
    count = method.context.plan.num_classes
    gan = Gan(Generator(6, count, 1), Discriminator(count, 2), None, gaussian_latents(6))
    if ema:
        gan.ema = copy.deepcopy(gan.generator)
    states = {"generator": pair[0].state_dict(), "discriminator": pair[1].state_dict(), "ema": pair[0].state_dict()}
    Lifecycle.attach(method, gan, Checkpoint.of_states(states))
    method.load(gan, Checkpoint.of_states(states))
    return gan


def tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items() if isinstance(value, torch.Tensor)}


def run(gan: Gan, method: BnPropagation, steps: int, start: int = 0) -> Loop:
    images, live = torch.rand(20, 3, 32, 32) * 2 - 1, torch.tensor(method.context.plan.live)
    lifecycle = Lifecycle(method, gan, step=start)
    labels = live[torch.arange(20) % len(live)]
    loop = Loop(gan, images, labels, live, OPTIONS, torch.Generator().manual_seed(0), lifecycle=lifecycle)
    for step in range(start, start + steps):
        loop.step(step)
    return loop


@pytest.mark.parametrize(
    ("section", "count", "old_of"),
    [
        ({"swap": {"b": "e"}}, 4, {0: 0, 2: 2, 3: 3}),
        ({"add": ["e", "f"]}, 6, {0: 0, 1: 1, 2: 2, 3: 3}),
        ({"swap": {"b": "e"}, "add": ["g"]}, 5, {0: 0, 2: 2, 3: 3}),
        ({"classes": ["d", "e", "a"]}, 3, {0: 3, 2: 0}),
        ({"classes": ["e", "f", "g"]}, 3, {}),
    ],
    ids=["swap", "add", "both", "fewer", "others"],
)
def test_labels_that_stay_keep_their_images(pair: Any, section: dict[str, Any], count: int, old_of: dict[int, int]) -> None:
    method = method_for(count, **section)
    gan = loaded(pair, method, ema=True)
    method.prepare(gan)
    for label, old in old_of.items():
        now = sample_images(gan.evaluated, torch.tensor([label]), gan.latents)
        before = sample_images(pair[0], torch.tensor([old]), gan.latents)
        torch.testing.assert_close(now, before, rtol=0, atol=1e-6)
    new = sorted(method.context.plan.slots)
    assert new == [label for label in range(count) if label not in old_of]
    for row, label in enumerate(new):
        for name, made in propagations(gan.generator).items():
            column = gan.generator.get_submodule(name.rpartition(".")[0]).weight[:, label]  # type: ignore[index]
            mean = pair[0].get_parameter(name).mean(1)
            torch.testing.assert_close(column, mean, rtol=0, atol=1e-6)
            assert made.residual[row].abs().sum() == 0


def test_parameters_grow_linearly_with_the_new_classes(pair: Any) -> None:
    counts = []
    for new in (1, 2, 3):
        method = method_for(4 + new, add=list("efg")[:new])
        gan = loaded(pair, method)
        method.prepare(gan)
        own = [*propagations(gan.generator).values(), *propagations(gan.discriminator).values()]
        counts.append(sum(one.scores.numel() + one.residual.numel() for one in own))
        channels, features = 4, 4  # 12 weights of 4 channels in G, an embedding of 4 features in D
        assert counts[-1] == new * (12 * (4 + channels) + (4 + features))
        assert f"{counts[0]:,} parameters a new class, {counts[-1]:,} for {new}" in method.lines[0]  # type: ignore[attr-defined]
    assert counts == [counts[0], 2 * counts[0], 3 * counts[0]]


def test_each_stage_changes_what_it_trains_and_nothing_else(pair: Any) -> None:
    method = method_for(4, swap={"b": "e"}, stages={"bn": 2, "ft": 2}, propagation={"l1": 0.1, "l2": 0.1})
    gan = loaded(pair, method)
    method.prepare(gan)
    own = propagations(gan.generator)
    scores = {name for name, value in gan.generator.named_parameters() if any(value is one.scores for one in own.values())}
    residuals = {name for name, value in gan.generator.named_parameters() if any(value is one.residual for one in own.values())}
    tables = {name for name, value in gan.generator.named_parameters() if any(value is table_of(gan.generator, of) for of in own)}
    assert [len(names) for names in (scores, residuals, tables)] == [12, 12, 12]

    start, judge = tensors(gan.generator), tensors(gan.discriminator)
    loop = run(gan, method, 2)
    between = tensors(gan.generator)
    changed = {name for name in start if not torch.equal(start[name], between[name])}
    assert changed == scores | residuals | tables, "bit for bit nothing else, batch norm's statistics included"
    moved = {name for name, value in tensors(gan.discriminator).items() if not torch.equal(value, judge[name])}
    assert set(dict(gan.discriminator.named_parameters())) <= moved, "D trains as usual"

    # the stage has changed after the second step; every gradient is switched on, as upstream does at each step
    gan.generator.requires_grad_(True)
    assert loop.lifecycle is not None
    loop.lifecycle.freeze(gan.generator)
    trained = {id(parameter) for group in loop.optimizers["generator"].param_groups for parameter in group["params"]}
    for name, parameter in gan.generator.named_parameters():
        frozen = name in scores | tables
        assert parameter.requires_grad is not frozen
        assert (id(parameter) in trained) is not frozen
    loop.step(2)
    loop.step(3)
    after = tensors(gan.generator)
    same = {name for name in after if torch.equal(after[name], between[name])}
    assert same == scores | tables
    embedding = gan.discriminator.embedding.parametrizations.weight_orig  # type: ignore[union-attr]
    assert embedding.original.grad is None  # type: ignore[union-attr]
    assert any("stage ft begins after 2 steps" in line for line in method.lines)  # type: ignore[attr-defined]


def test_the_penalty_is_the_formula_by_hand(pair: Any) -> None:
    method = method_for(4, swap={"b": "e", "c": "f"}, propagation={"l1": 0.5, "l2": 2.0}, retain=0.0)
    gan = loaded(pair, method)
    own = list(propagations(gan.generator).values())
    for one in own:
        torch.nn.init.normal_(one.scores)
        torch.nn.init.normal_(one.residual)
    found = method.generator_loss(Batch(0, torch.zeros(1), torch.zeros(1)))
    assert found is not None
    scores = [abs(value) for one in own for value in one.scores.double().flatten().tolist()]
    residuals = [value**2 for one in own for value in one.residual.double().flatten().tolist()]
    by_hand = 0.5 * sum(scores) / len(scores) + 2.0 * sum(residuals) / len(residuals)
    assert float(found.detach()) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize("ema", [True, False])
def test_remaining_labels_are_kept_in_it_too(pair: Any, tmp_path: Path, ema: bool) -> None:
    method = method_for(5, classes=list("daefb"), retain=3.0)
    method.context = dataclasses.replace(method.context, directory=tmp_path)
    gan = Gan(Generator(6, 5, 1), Discriminator(5, 2), Generator(6, 5, 1) if ema else None, gaussian_latents(6))
    begin(method, gan, {"generator": pair[0].state_dict(), "discriminator": pair[1].state_dict(), "ema": pair[0].state_dict()})
    gan.generator.eval()
    batch = Batch(0, torch.zeros(3, 3, 32, 32), torch.tensor([0, 1, 2]))
    retained, method.retained = method.retained, None
    alone = method.generator_loss(batch)
    method.retained = retained
    with torch.no_grad():
        gan.generator.conv2d5.bias += 0.2
    found = method.generator_loss(batch)
    z = gaussian_latents(6)(2, torch.Generator().manual_seed(1))
    kept, old = torch.tensor([0, 1]), torch.tensor([3, 0])  # d and a, by their labels now and before
    by_hand = 3 * (gan.generator(z, kept) - pair[0].eval()(z, old)).abs().mean()
    assert found is not None
    assert alone is not None
    torch.testing.assert_close(found - alone, by_hand, rtol=1e-4, atol=1e-6)
    method._stage = "bn"
    torch.testing.assert_close(method.generator_loss(batch), alone)
    method._stage = "ft"

    again = BnPropagation(method.context)
    other = Gan(Generator(6, 5, 1), Discriminator(5, 2), None, gaussian_latents(6))
    go_on(again, other, {name: copy.deepcopy(network.state_dict()) for name, network in gan.networks.items()}, step=4)
    other.generator.eval()
    torch.testing.assert_close(again.generator_loss(batch), found, rtol=1e-4, atol=1e-6)


def test_a_swap_starts_from_the_old_class_and_is_matched_to_the_new_one(pair: Any) -> None:
    method = method_for(4, swap={"b": "e"}, label_start={"how": "match", "iterations": 3, "batch_size": 4, "images": 6})
    gan = loaded(pair, method, ema=True)
    labels = torch.arange(4)
    before = sample_images(pair[0], labels, gan.latents)
    torch.testing.assert_close(sample_images(gan.evaluated, labels, gan.latents), before, rtol=0, atol=1e-6)
    method.prepare(gan)
    after = sample_images(gan.evaluated, labels, gan.latents)
    assert (after[1] - before[1]).abs().max() > 1e-3
    torch.testing.assert_close(after[[0, 2, 3]], before[[0, 2, 3]], rtol=0, atol=1e-6)
    torch.testing.assert_close(sample_images(gan.generator, labels, gan.latents), after, rtol=0, atol=1e-6)
    assert "in 3 updates" in method.lines[0]  # type: ignore[attr-defined]


def test_the_match_leaves_the_moving_average(pair: Any) -> None:
    """F3: the average takes over the matched scores and residuals, and keeps all else; other labels' images stay to the bit."""
    method = method_for(4, swap={"b": "e"}, label_start={"how": "match", "iterations": 2, "batch_size": 4, "images": 6})
    gan = Gan(Generator(6, 4, 1), Discriminator(4, 2), Generator(6, 4, 1), gaussian_latents(6))
    average = copy.deepcopy(pair[0])
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    states = {"generator": pair[0].state_dict(), "discriminator": pair[1].state_dict(), "ema": average.state_dict()}
    begin(method, gan, states)
    assert gan.ema is not None
    labels = torch.arange(4)
    before, after = (sample_images(network, labels, gan.latents) for network in (average, gan.ema))
    assert torch.equal(after[[0, 2, 3]], before[[0, 2, 3]])
    assert (after[1] - before[1]).abs().max() > 1e-3
    for name, made in propagations(gan.generator).items():
        assert torch.equal(propagations(gan.ema)[name].residual, made.residual)
        assert made.residual.abs().sum() > 0


@pytest.mark.parametrize(
    ("stages", "expected"), [({"bn": 3, "ft": 1}, "bbbff"), ({"ft": 0}, "bbbbb"), ({"bn": 0}, "fffff"), ({"bn": 1}, "bffff")]
)
def test_no_step_belongs_to_a_stage_of_no_steps(stages: dict[str, int], expected: str) -> None:
    """F14: the step that upstream makes beyond total_steps is one more of the last stage."""
    method = method_for(4, swap={"b": "e"}, stages=stages)
    assert "".join(method.stage_at(step)[0] for step in range(5)) == expected
    assert method._stage[0] == expected[0]


def test_stage_bn_alone_stays_frozen_behind_its_end(pair: Any) -> None:
    """F14, F6: a step too many changes scores, residuals and tables alone, and the average of nothing else moves."""
    method = method_for(4, total_steps=2, swap={"b": "e"}, stages={"ft": 0})
    gan = loaded(pair, method, ema=True)
    method.prepare(gan)
    made, before = PropagatedParameters.of(gan.generator), tensors(gan.generator)
    names = {name for name, parameter in gan.generator.named_parameters() if parameter in set(made.every)}
    run(gan, method, 3)
    after = tensors(gan.generator)
    assert {name for name in after if not torch.equal(after[name], before[name])} == names
    assert set(method.averaged(gan)) == set(made.every)
    method._stage = "ft"
    assert set(method.averaged(gan)) == {*gan.generator.parameters(), *gan.generator.buffers()}


def test_other_numbers_of_labels_are_checked_on_new_networks(pair: Any, odd_pair: Any) -> None:
    """F13: what the method cannot do is refused from shapes alone, before networks are filled or files written."""
    method = method_for(5, add=["e"])
    settings, plan = method.context.settings, method.context.plan
    states = {"generator": pair[0].state_dict(), "discriminator": pair[1].state_dict()}
    gan = Gan(Generator(6, 5, 1), Discriminator(5, 2), None, gaussian_latents(6))
    BnPropagation.check_networks(settings, plan, gan, states)
    gan.discriminator.register_parameter("head", torch.nn.Parameter(torch.zeros(2 * 5, 3)))
    paired = {**states["discriminator"], "head": torch.zeros(2 * 4, 3)}
    with pytest.raises(RcasError, match=r"^RCAS.method: bn_propagation cannot give head of the discriminator other labels"):
        BnPropagation.check_networks(settings, plan, gan, {**states, "discriminator": paired})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "count", "expected"), [({}, 99, 150), ({}, 100, 60), ({}, None, 60), ({"iterations": 3}, 10, 3)],
)  # fmt: skip
def test_few_images_are_matched_for_longer(own: dict[str, int], count: int | None, expected: int, pair: Any) -> None:
    method = method_for(4, swap={"b": "e"}, label_start={"how": "match", "batch_size": 2, "images": 2, **own})
    counts = {} if count is None else {1: count}
    method.context = dataclasses.replace(method.context, plan=dataclasses.replace(method.context.plan, counts=counts))
    gan = loaded(pair, method)
    method.prepare(gan)
    assert f"in {expected} updates" in method.lines[0]  # type: ignore[attr-defined]


def test_it_goes_on_from_its_checkpoint_in_the_stage_of_its_step(pair: Any) -> None:
    first = method_for(5, add=["e"], stages={"bn": 2, "ft": 2})
    gan = loaded(pair, first)
    first.prepare(gan)
    loop = run(gan, first, 3)
    second = method_for(5, add=["e"], stages={"bn": 2, "ft": 2})
    other = Gan(Generator(6, 5, 1), Discriminator(5, 2), None, gaussian_latents(6))
    lifecycle = go_on(second, other, {name: network.state_dict() for name, network in gan.networks.items()}, step=3)
    optimizers: dict[str, torch.optim.Optimizer] = {
        "generator": torch.optim.Adam(other.generator.parameters()),
        "discriminator": torch.optim.Adam(other.discriminator.parameters()),
    }
    lifecycle.build_optimizers(optimizers)
    for role, optimizer in optimizers.items():
        optimizer.load_state_dict(loop.optimizers[role].state_dict())  # refuses other groups
    assert PropagatedParameters.of(other.generator).scores[0] not in set(second.trained(other))
    assert loop.lifecycle is not None
    assert lifecycle.record() == loop.lifecycle.record()
    assert lifecycle.record()["plain_parameters"]["generator"] == len(list(pair[0].parameters()))


def test_labels_that_the_slots_scores_step_further(pair: Any) -> None:
    steps = []
    for factor in (1.0, 5.0):
        method = method_for(4, swap={"b": "e"}, label_lr={"generator": factor, "steps": 1000}, stages={"bn": 4})
        gan = loaded(copy.deepcopy(pair), method)
        method.prepare(gan)
        before = tensors(gan.generator)
        torch.manual_seed(3)
        run(gan, method, 1)
        scores = PropagatedParameters.of(gan.generator).scores[0]
        name = next(name for name, parameter in gan.generator.named_parameters() if parameter is scores)
        steps.append((gan.generator.get_parameter(name).detach() - before[name]).abs().max())
    assert float(steps[1]) == pytest.approx(5 * float(steps[0]), rel=1e-2)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [({}, (1, 9)), ({"bn": 4}, (4, 6)), ({"ft": 10}, (0, 10)), ({"bn": 10}, (10, 0)), ({"bn": 2, "ft": 8}, (2, 8))],
)
def test_the_stages_make_up_the_run(stages: dict[str, int], expected: tuple[int, int]) -> None:
    settings = parse_settings({"swap": {0: 1}, "method": "bn_propagation", "stages": stages})
    plan = LabelPlan(2, {0: 1}, {}, ("b",), ("a",))
    assert stages_of(settings, plan, 10) == expected
    few = stages_of(settings, dataclasses.replace(plan, counts={0: 99}), 10)
    assert few == (expected if stages else (10, 0)), "so few images are not fine-tuned on, where the section does not ask for it"
    assert stages_of(settings, dataclasses.replace(plan, counts={0: 100}), 10) == expected


@pytest.mark.parametrize("stages", [{"bn": 4, "ft": 4}, {"bn": 11}, {"ft": 11}])
def test_stages_that_do_not(stages: dict[str, int]) -> None:
    settings = parse_settings({"swap": {0: 1}, "method": "bn_propagation", "stages": stages})
    plan = LabelPlan(2, {0: 1}, {}, ("b",), ("a",))
    with pytest.raises(RcasError, match=r"^RCAS.stages: bn -?\d+ and ft -?\d+ do not make up OPTIMIZATION.total_steps 10"):
        BnPropagation.check(settings, plan, 10)


def test_a_generator_without_a_row_a_label(odd_pair: Any) -> None:
    """F4: what a method cannot work on is refused before networks are filled, by class_swap and bn_propagation alike."""

    class Blind(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = odd_pair[0]

        def forward(self, z: torch.Tensor, label: torch.Tensor, eval: bool = False) -> torch.Tensor:
            return self.inner(z, torch.zeros_like(label))  # type: ignore[no-any-return]

    settings = parse_settings({"swap": {0: "d"}, "method": "bn_propagation"})
    plan = LabelPlan(3, {0: 3}, {1: 1}, ("d", "b", "c"), ("a", "b", "c"))
    gan = Gan(Blind(), odd_pair[1], None, gaussian_latents(5))
    states = {name: network.state_dict() for name, network in gan.networks.items()}
    for refused in (
        lambda: begin(BnPropagation(Context(settings, plan)), gan),
        lambda: BnPropagation.check_networks(settings, plan, gan, states),
    ):
        with pytest.raises(RcasError, match=r"^RCAS.method: bn_propagation finds no row or column a label"):
            refused()
    swap = parse_settings({"swap": {0: "d"}})
    with pytest.raises(RcasError, match=r"^RCAS.label_start.how: match finds no row or column .* allowed: keep$"):
        ClassSwap.check_networks(swap, plan, gan, states)
    ClassSwap.check_networks(parse_settings({"swap": {0: "d"}, "preset": "rcas"}), plan, gan, states)


def test_a_run_that_is_made_longer_starts_its_optimiser_anew(pair: Any) -> None:
    """F14: a run of stage bn alone that goes on with more steps is in stage ft, whose optimiser has other parameters."""
    first = method_for(4, total_steps=2, swap={"b": "e"}, stages={"bn": 2})
    gan = loaded(pair, first)
    first.prepare(gan)
    state = copy.deepcopy(run(gan, first, 2).optimizers["generator"].state_dict())
    second = method_for(4, total_steps=4, swap={"b": "e"}, stages={"bn": 2})
    other = Gan(Generator(6, 4, 1), Discriminator(4, 2), None, gaussian_latents(6))
    lifecycle = go_on(second, other, {name: network.state_dict() for name, network in gan.networks.items()}, step=2)
    optimizers: dict[str, torch.optim.Optimizer] = {
        "generator": torch.optim.Adam(other.generator.parameters()),
        "discriminator": torch.optim.Adam(other.discriminator.parameters()),
    }
    lifecycle.build_optimizers(optimizers)
    optimizers["generator"].load_state_dict(state)
    assert not optimizers["generator"].state
    assert any("it starts anew" in line for line in second.lines)  # type: ignore[attr-defined]
    other.generator(torch.randn(2, 6), torch.tensor([0, 1])).sum().backward()
    optimizers["generator"].step()
