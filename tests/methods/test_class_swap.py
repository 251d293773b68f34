"""The method on the embedded networks, without a loop."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from rcas_plugin import Batch, Context, RcasError, Selection
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.class_swap.method import ClassSwap
from rcas_plugin.methods.fine_tune.method import FineTune
from rcas_plugin.settings import parse_settings
from rcas_plugin.watch.snapshots import load_snapshot
from rcas_plugin.weights.label_bound import find_label_bound

from ..shared import begin, go_on

PLAN = LabelPlan(4, {3: 0}, {1: 1, 2: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))


def context(directory: Path | None = None, **section: Any) -> Context:
    few = {"importance": {"samples": 6}} if section.get("method", "class_swap") == "class_swap" else {}
    settings = parse_settings({"swap": {3: 0}, **few, **section})
    return Context(settings, PLAN, seed=1, directory=directory, log=lambda line: None)


def test_generator_discriminator_and_average_are_edited_alike(pair: Any, tmp_path: Path) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    begin(ClassSwap(context(tmp_path, preset="rcas")), gan)
    selection = Selection.load(tmp_path / "selection.safetensors")
    assert selection.fraction("generator") > 0.05
    assert selection.settings["importance"]["labels"] == [3]
    for name, mask in selection.generator.items():
        assert gan.generator.get_parameter(name)[mask].abs().sum() == 0
        assert gan.ema is not None
        assert gan.ema.get_parameter(name)[mask].abs().sum() == 0
    for name, mask in selection.discriminator.items():
        assert gan.discriminator.get_parameter(name)[mask].abs().sum() == 0


def test_blocks_and_frozen_layers_say_what_is_reinitialised(pair: Any, tmp_path: Path) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    before = {role: copy.deepcopy(network.state_dict()) for role, network in gan.networks.items()}
    blocks = {"generator": [0, "rest/1"], "discriminator": [1, 2]}
    about = context(tmp_path, preset="rcas_10", selection={"blocks": blocks})
    frozen = frozenset(name for name, _ in gan.discriminator.named_parameters() if name.startswith("blocks.1."))
    begin(ClassSwap(dataclasses.replace(about, frozen=frozen)), gan)
    changed = {
        role: {name for name, _ in network.named_parameters() if not torch.equal(network.state_dict()[name], before[role][name])}
        for role, network in gan.networks.items()
    }
    assert {name.split("0.")[0] for name in changed["generator"]} == {"blocks.", "conv2d5.weight"}
    assert all(name.startswith(("blocks.0.", "conv2d5.")) for name in changed["generator"])
    assert changed["discriminator"]
    assert all(name.startswith("blocks.2.") for name in changed["discriminator"]), "block 1 is frozen"


def test_blocks_that_the_networks_lack_are_refused_beforehand(pair: Any) -> None:
    settings = parse_settings({"swap": {3: 0}, "preset": "rcas", "selection": {"blocks": {"discriminator": [9]}}})
    with pytest.raises(RcasError, match=r"^RCAS\.selection\.blocks\.discriminator: 9 is no block .* allowed: 0 to 3, rest"):
        ClassSwap.check_networks(settings, PLAN, Gan(*pair, None, gaussian_latents(6)), {})


def test_fine_tune_changes_nothing(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    before = copy.deepcopy(gan.generator.state_dict())
    method = FineTune(context(method="fine_tune"))
    begin(method, gan)
    assert all(torch.equal(value, before[name]) for name, value in gan.generator.state_dict().items())
    assert set(method.trained(gan)) == {*gan.generator.parameters(), *gan.discriminator.parameters()}
    assert method.generator_loss(Batch(0, torch.zeros(1), torch.zeros(1))) is None


def test_the_retain_loss_is_the_mean_distance_on_remaining_labels(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    pretrained = copy.deepcopy(gan.generator).double().eval()
    method = ClassSwap(context(retain=0.5))
    begin(method, gan)
    gan.generator.eval()
    labels = torch.tensor([3, 1, 2, 3, 2])
    loss = method.generator_loss(Batch(0, torch.zeros(5, 3, 32, 32), labels))
    z = gaussian_latents(6)(3, torch.Generator().manual_seed(1)).double()
    kept = torch.tensor([1, 2, 2])
    by_hand = 0.5 * (copy.deepcopy(gan.generator).double()(z, kept) - pretrained(z, kept)).abs().mean()
    assert loss is not None
    torch.testing.assert_close(loss.double(), by_hand, rtol=1e-5, atol=1e-7)
    assert loss.requires_grad
    assert method.generator_loss(Batch(0, torch.zeros(1, 3, 32, 32), torch.tensor([3]))) is None


def test_the_pretrained_generator_is_kept_for_a_run_that_goes_on(pair: Any, tmp_path: Path) -> None:
    pretrained, fresh = copy.deepcopy(pair[0]), copy.deepcopy(pair)
    begin(ClassSwap(context(tmp_path, label_start={"how": "keep"})), Gan(*pair, None, gaussian_latents(6)))
    with torch.no_grad():
        for parameter in fresh[0].parameters():
            parameter.normal_()
    gan = Gan(*fresh, None, gaussian_latents(6))
    method = ClassSwap(context(tmp_path))
    go_on(method, gan, {name: copy.deepcopy(network.state_dict()) for name, network in gan.networks.items()})
    gan.generator.eval()
    loss = method.generator_loss(Batch(0, torch.zeros(3, 3, 32, 32), torch.tensor([1, 2, 1])))
    z = gaussian_latents(6)(3, torch.Generator().manual_seed(1))
    kept = torch.tensor([1, 2, 1])
    by_hand = 10 * (gan.generator(z, kept) - pretrained.eval()(z, kept)).abs().mean()
    torch.testing.assert_close(loss, by_hand)
    (tmp_path / "retained.safetensors").write_bytes(b"cut short")
    with pytest.raises(RcasError, match=r"retained.safetensors is missing or cut short"):
        go_on(ClassSwap(context(tmp_path)), gan, {})


def test_any_method_keeps_the_remaining_labels(pair: Any, tmp_path: Path) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    method = FineTune(context(tmp_path, method="fine_tune", retain=2.0))
    begin(method, gan)
    gan.generator.eval()
    batch = Batch(0, torch.zeros(2, 3, 32, 32), torch.tensor([1, 2]))
    with torch.no_grad():
        assert method.generator_loss(batch) == 0, "nothing has changed yet"
        gan.generator.conv2d5.bias += 0.1
        moved = method.generator_loss(batch)
    assert moved is not None
    assert moved > 0.01
    assert (tmp_path / "retained.safetensors").is_file()


def test_there_is_no_retain_loss_where_it_is_off(pair: Any, tmp_path: Path) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    method = ClassSwap(context(tmp_path, retain=0.0))
    assert not list(tmp_path.iterdir())
    begin(method, gan)
    assert method.generator_loss(Batch(0, torch.zeros(1, 3, 32, 32), torch.tensor([1]))) is None


def test_as_it_comes_it_matches_the_slot_and_leaves_the_rest(pair: Any, tmp_path: Path) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    before = copy.deepcopy(gan.generator.state_dict())
    asked: list[tuple[int, int]] = []

    def real_images(label: int, count: int) -> torch.Tensor:
        asked.append((label, count))
        return torch.rand(5, 3, 32, 32)

    own = context(tmp_path, label_start={"iterations": 2})
    begin(ClassSwap(dataclasses.replace(own, real_images=real_images)), gan)
    assert asked == [(3, 512)]
    changed = {name for name, value in gan.generator.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {bound.name for bound in find_label_bound(gan, 4) if bound.role == "generator"}
    assert not (tmp_path / "selection.safetensors").exists(), "nothing was selected"


def test_without_real_images_it_says_so(pair: Any) -> None:
    lines: list[str] = []
    begin(ClassSwap(dataclasses.replace(context(), log=lines.append)), Gan(*pair, None, gaussian_latents(6)))
    assert any("no real images are at hand" in line for line in lines)


def test_both_states_of_batch_norm_are_kept(pair: Any, tmp_path: Path) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    before = gan.generator.bn4.running_mean.clone()
    begin(ClassSwap(context(tmp_path, preset="rcas", snapshot_images=1, bn_batches=2)), gan)
    assert load_snapshot(tmp_path, "stale")[0].shape == (3, 3, 32, 32)
    assert not torch.equal(gan.generator.bn4.running_mean, before)


@pytest.mark.parametrize("against", ["ratio", "difference", "damping"])
def test_against_the_remaining_labels(pair: Any, tmp_path: Path, against: str) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    selection = {"against": against}
    reinit = "damp" if against == "damping" else "zero"
    begin(ClassSwap(context(tmp_path, preset="rcas", selection=selection, reinit=reinit, snapshot_images=0)), gan)
    found = Selection.load(tmp_path / "selection.safetensors")
    assert found.settings["rule"] == against
    assert found.settings["against"]["labels"] == [1, 2]


def test_sampling_stops_once_the_selection_is_stable(pair: Any) -> None:
    lines: list[str] = []
    settings = parse_settings({"swap": {3: 0}, "preset": "rcas", "importance": {"samples": 5000, "stable": 0.1}, "bn_batches": 0})
    begin(ClassSwap(Context(settings, PLAN, log=lines.append)), Gan(*pair, None, gaussian_latents(6)))
    assert any("the selection after 128 samples overlaps by" in line for line in lines)


def test_the_slot_steps_further_in_any_method(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    method = FineTune(context(method="fine_tune", label_lr={"generator": 20.0, "steps": 10}))
    optimizer = torch.optim.SGD(gan.generator.parameters(), 0.5)
    lifecycle = begin(method, gan)
    lifecycle.build_optimizers({"generator": optimizer})
    gain = gan.generator.get_parameter("blocks.0.0.bn1.gain.weight")
    for at, factor in ((0, 20.0), (10, 1.0)):
        lifecycle.step, before = at, gain.detach().clone()
        gain.grad = torch.ones_like(gain)
        optimizer.step()
        expected = torch.full_like(gain, -0.5)
        expected[:, 3] *= factor
        torch.testing.assert_close(gain.detach() - before, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_goes_by_the_running_statistics_where_that_is_asked_for(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    settings = {"label_start": {"how": "keep"}, "batch_norm": "running"}
    begin(ClassSwap(context(**settings)), gan)
    z, labels = torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 3])
    before = {name: buffer.clone() for name, buffer in gan.generator.named_buffers()}
    in_evaluation = gan.generator.eval()(z, labels)
    in_training = gan.generator.train()(z, labels)
    assert torch.equal(in_training, in_evaluation), "what is trained is what is looked at"
    assert all(torch.equal(buffer, before[name]) for name, buffer in gan.generator.named_buffers())
    assert in_training.requires_grad
    begin(ClassSwap(context(**settings, bn_batches=2)), gan)
    assert not torch.equal(gan.generator.bn4.running_mean, before["bn4.running_mean"]), "estimated anew all the same"
