"""The method on the embedded networks, without a loop."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from rcas_plugin import Batch, Context, Selection
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import LabelPlan
from rcas_plugin.methods.class_swap import ClassSwap
from rcas_plugin.methods.fine_tune import FineTune
from rcas_plugin.settings import parse_settings

PLAN = LabelPlan(4, {3: 0}, {1: 1, 2: 2}, ("a", "b", "c", "new"), ("a", "b", "c", "d"))


def context(directory: Path | None = None, **section: Any) -> Context:
    settings = parse_settings({"swap": {3: 0}, "importance": {"samples": 6}, **section})
    return Context(settings, PLAN, seed=1, directory=directory, log=lambda line: None)


def test_generator_discriminator_and_average_are_edited_alike(pair: Any, tmp_path: Path) -> None:
    gan = Gan(*pair, copy.deepcopy(pair[0]), gaussian_latents(6))
    ClassSwap(context(tmp_path, preset="rcas")).prepare(gan)
    selection = Selection.load(tmp_path / "selection.safetensors")
    assert selection.fraction("generator") > 0.05
    assert selection.settings["importance"]["labels"] == [3]
    for name, mask in selection.generator.items():
        assert gan.generator.get_parameter(name)[mask].abs().sum() == 0
        assert gan.ema is not None
        assert gan.ema.get_parameter(name)[mask].abs().sum() == 0
    for name, mask in selection.discriminator.items():
        assert gan.discriminator.get_parameter(name)[mask].abs().sum() == 0


def test_fine_tune_changes_nothing(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    before = copy.deepcopy(gan.generator.state_dict())
    method = FineTune(context(method="fine_tune"))
    method.prepare(gan)
    assert all(torch.equal(value, before[name]) for name, value in gan.generator.state_dict().items())
    assert method.trainable("generator", "linear0.weight")
    assert method.generator_loss(Batch(0, torch.zeros(1), torch.zeros(1))) is None


def test_the_retain_loss_is_the_mean_distance_on_remaining_labels(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    pretrained = copy.deepcopy(gan.generator).double().eval()
    method = ClassSwap(context(retain=0.5))
    method.prepare(gan)
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


def test_there_is_no_retain_loss_by_default(pair: Any) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    method = ClassSwap(context())
    method.prepare(gan)
    assert method.generator_loss(Batch(0, torch.zeros(1, 3, 32, 32), torch.tensor([1]))) is None
