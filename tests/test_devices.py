"""Whatever a device gives is what the CPU gives: no tensor is left behind on the CPU, no stream of random numbers touched."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rcas_plugin import Context, reestimate_batch_norm, reinitialize, select_synapses, synapse_importance
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.embedded.loop import load_gan
from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import Gan, gaussian_latents, sample_images
from rcas_plugin.importance.reinit import newly_drawn
from rcas_plugin.importance.selection import overlap
from rcas_plugin.labels import DataClasses, LabelPlan, resolve_labels
from rcas_plugin.methods.label_start import match_features, start_at_mean
from rcas_plugin.metrics.classifier import train_classifier
from rcas_plugin.metrics.judge import Judge
from rcas_plugin.metrics.swap import set_metrics
from rcas_plugin.registry import phases
from rcas_plugin.run.lifecycle import Lifecycle
from rcas_plugin.settings import parse_settings
from rcas_plugin.watch.edits import edits, parameters_of
from rcas_plugin.watch.snapshots import load_snapshot, save_snapshot
from rcas_plugin.weights.adapters import fold_network, fold_state
from rcas_plugin.weights.label_bound import find_label_bound

from .shared import begin

pytestmark = pytest.mark.device

Pair = tuple[Generator, Discriminator]
CLASSES = DataClasses(tuple("abcde"), (20,) * 5)


def gan_of(pair: Pair, device: torch.device | str = "cpu") -> Gan:
    """Copies of the pair, with a moving average, on a device."""
    generator, discriminator = (copy.deepcopy(network).to(device) for network in pair)
    return Gan(generator, discriminator, copy.deepcopy(generator), gaussian_latents(6))


def assert_alike(found: nn.Module, expected: nn.Module, device: torch.device, atol: float = 1e-4) -> None:
    """The same tensors up to rounding, and every one of `found` on the device."""
    state = expected.state_dict()
    for name, value in found.state_dict().items():
        if isinstance(value, Tensor):
            assert value.device == device, name
            torch.testing.assert_close(
                value.cpu(), state[name], rtol=1e-3, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_images_of_a_seed_are_the_same(pair: Pair, device: torch.device) -> None:
    labels = torch.tensor([0, 3, 1])
    images = sample_images(gan_of(pair, device).generator, labels, gaussian_latents(6), seed=2)
    assert images.device == torch.device("cpu")
    torch.testing.assert_close(images, sample_images(pair[0], labels, gaussian_latents(6), seed=2), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["per_sample", "batch"])
def test_importance_and_selection(pair: Pair, odd_pair: Any, device: torch.device, estimator: Any) -> None:
    for networks, label in ((pair, 2), (odd_pair, 1)):
        elsewhere = [copy.deepcopy(network).to(device) for network in networks]
        options = {"labels": [label], "num_samples": 6, "seed": 3, "estimator": estimator, "progress": False}
        found, expected = synapse_importance(*elsewhere, **options), synapse_importance(*networks, **options)
        for role, weights in found.weights.items():
            for name, value in weights.items():
                by_cpu = expected.weights[role][name]
                assert value.device == device
                assert (value.cpu() - by_cpu).abs().max() <= 5e-3 * by_cpu.abs().max().clamp_min(1e-12), name
        against = synapse_importance(*elsewhere, **{**options, "labels": [0]})
        for scope in ("layer", "global"):
            selection = select_synapses(found, ratio=0.2, scope=scope, against=against, rule="damping")
            assert all(mask.device == device for masks in selection.masks.values() for mask in masks.values())
        assert reinitialize(elsewhere, selection, value="damp") > 0


@pytest.mark.slow
def test_a_selection_is_saved_and_put_into_networks_elsewhere(pair: Pair, device: torch.device, tmp_path: Path) -> None:
    elsewhere = [copy.deepcopy(network).to(device) for network in pair]
    options = {"labels": [1], "num_samples": 8, "progress": False}
    selection = select_synapses(synapse_importance(*elsewhere, **options), ratio=0.2)
    by_cpu = select_synapses(synapse_importance(*pair, **options), ratio=0.2)
    selection.save(tmp_path / "selection.safetensors")
    loaded = type(selection).load(tmp_path / "selection.safetensors")
    assert overlap(loaded, by_cpu) > 0.98
    for value in ("zero", "init"):
        assert reinitialize(elsewhere, loaded, value=value) == reinitialize(list(pair), loaded, value=value) > 0
        for network, twin in zip(elsewhere, pair, strict=True):
            assert_alike(network, twin, device)


def test_batch_norm_is_estimated_anew(pair: Pair, device: torch.device) -> None:
    gan = gan_of(pair, device)
    before = copy.deepcopy(pair[0])
    for generator in (gan.generator, pair[0]):
        assert reestimate_batch_norm(generator, [1, 3], gan.latents, batches=3, batch_size=8) == 7
    assert_alike(gan.generator, pair[0], device, atol=1e-3)
    assert not torch.equal(pair[0].bn4.running_mean, before.bn4.running_mean)


def test_the_slots_start(pair: Pair, odd_pair: Any, device: torch.device) -> None:
    gan, by_cpu = gan_of(pair, device), gan_of(pair)
    names = [(bound.role, bound.name, bound.dim) for bound in find_label_bound(by_cpu, 4)]
    assert [(bound.role, bound.name, bound.dim) for bound in find_label_bound(gan, 4)] == names
    real = torch.rand(9, 3, 32, 32) - 0.5
    for one in (gan, by_cpu):
        start_at_mean(one, 4, [3], [0, 1])
        losses = match_features(one, 4, 2, real, iterations=3, batch_size=8, progress=False)
        assert len(losses) == 3
    for name, network in gan.networks.items():
        assert_alike(network, by_cpu.networks[name], device, atol=2e-3)
    with_norm = Gan(*(network.to(device) for network in odd_pair), None, gaussian_latents(5))
    assert match_features(with_norm, 3, 1, torch.rand(4, 3, 7, 7), iterations=2, batch_size=8, progress=False)


@pytest.mark.slow
def test_pictures_edits_and_metrics(
    pair: Pair, device: torch.device, judge_of: Callable[..., Judge], squares: Tensor, tmp_path: Path
) -> None:
    gan, by_cpu = gan_of(pair, device), gan_of(pair)
    judge = judge_of(tmp_path / "judge")
    for one, folder in ((gan, tmp_path / "elsewhere"), (by_cpu, tmp_path / "cpu")):
        before = parameters_of(one)
        with torch.no_grad():
            one.generator.conv2d5.bias.add_(0.5)
        changed = edits(before, one)["generator"]
        assert {name for name, row in changed.items() if row["changed"]} == {"conv2d5.bias"}
        save_snapshot(folder, "before", one, (0, 2), 3)
    images = [load_snapshot(tmp_path / where, "before")[0] for where in ("elsewhere", "cpu")]
    assert (images[0] - images[1]).abs().max() <= 1.01 / 127.5
    found, expected = judge.measure(gan), judge.measure(by_cpu)
    assert found["confusion"] == expected["confusion"]
    assert found["new"]["frechet_distance"] == pytest.approx(expected["new"]["frechet_distance"], rel=1e-2)
    assert judge.neighbours(gan, 1, 2)[0].device == torch.device("cpu")
    features = torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(0))
    assert set_metrics(*features.to(device)) == pytest.approx(set_metrics(*features), rel=1e-4)


def plan_and_settings(method: str, **section: Any) -> tuple[LabelPlan, Any]:
    settings = parse_settings({"method": method, "labels": list("abcd"), "swap": {"b": "e"}, **section})
    return resolve_labels(settings, 4, CLASSES, num_before=4), settings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "section"),
    [
        ("fine_tune", {"retain": 5.0}),
        ("class_swap", {"label_start": {"iterations": 2}, "label_lr": {"generator": 3.0, "discriminator": 2.0}}),
        (
            "class_swap",
            {
                "preset": "rcas",
                "label_start": {"how": "keep"},
                "importance": {"samples": 6},
                "selection": {"generator_ratio": 0.1},
                "bn_batches": 2,
            },
        ),
        ("bn_propagation", {"label_start": {"iterations": 2}, "stages": {"bn": 1, "ft": 2}}),
        ("piggyback", {"filters": {"how": "task"}, "linear0": "copy"}),
    ],
    ids=["fine_tune", "class_swap", "rcas", "bn_propagation", "piggyback"],
)
def test_a_whole_swap(pair: Pair, device: torch.device, method: str, section: dict[str, Any], tmp_path: Path) -> None:
    """From the pre-trained weights to the folded ones; the loop's random numbers come from the CPU, so both see the same."""
    plan, settings = plan_and_settings(method, **section)
    real = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 0.5
    labels, live = torch.arange(40) % 4, torch.tensor(plan.live)
    finished = []
    for place in (device, torch.device("cpu")):
        folder = tmp_path / place.type
        gan = gan_of((Generator(6, 4, 1), Discriminator(4, 2)), place)
        context = Context(settings, plan, 1, 3, folder, log=lambda line: None, real_images=lambda label, n: real[:n])
        made = phases[method](context)
        lifecycle = begin(
            made, gan, {"generator": pair[0].state_dict(), "discriminator": pair[1].state_dict(), "ema": pair[0].state_dict()}
        )
        options = {"batch_size": 8, "beta1": 0.0, "g_lr": 1e-3}
        loop = Loop(gan, real.to(place), labels.to(place), live, options, torch.Generator().manual_seed(0), lifecycle=lifecycle)
        start = gan.generator.linear0.weight.detach().cpu().clone()
        for step in range(3):
            loop.step(step)
        assert not torch.equal(gan.generator.linear0.weight.detach().cpu(), start), "it has been trained"
        for network in gan.networks.values():
            fold_network(network)
        finished.append(gan)
    for name, network in finished[0].networks.items():
        assert_alike(network, finished[1].networks[name], device, atol=5e-3)


def test_a_state_is_folded_where_it_lies(pair: Pair, device: torch.device) -> None:
    plan, settings = plan_and_settings("bn_propagation")
    gan = gan_of(pair, device)
    method = phases["bn_propagation"](Context(settings, plan, 1, 3, log=lambda line: None))
    Lifecycle.attach(method, gan, Checkpoint.of(gan_of(pair)))
    state = gan.generator.state_dict()
    plain = fold_state(state)
    assert plain.keys() != state.keys()
    assert all(value.device == device for value in plain.values())


def test_drawing_on_the_cpu_leaves_the_gpus_streams_alone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.manual_seed` seeds every GPU as well, and what is put back afterwards is the CPU's stream alone."""

    def seed_a_gpu(seed: int) -> None:
        raise AssertionError("a GPU was seeded")

    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, seed_a_gpu)
    with pytest.raises(AssertionError, match="a GPU was seeded"):
        torch.manual_seed(0)
    before = torch.get_rng_state()
    train_classifier(torch.rand(6, 3, 16, 16), torch.arange(6) % 2, 2, epochs=1, progress=False)
    newly_drawn(pair[0].linear0, seed=3)
    load_gan(Path(__file__).parents[1] / "configs" / "digits" / "pretrain.yaml", None)
    torch.set_rng_state(before)
