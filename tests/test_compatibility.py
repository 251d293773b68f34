"""What was written and promised at commit bc14607 still holds: its checkpoints go on and fold, its names are there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from rcas_plugin import RcasError
from rcas_plugin.checkpoints.checkpoint import Checkpoint
from rcas_plugin.checkpoints.folder import checkpoint_files, read_checkpoint, read_states
from rcas_plugin.embedded import loop
from rcas_plugin.embedded.data import read_images
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import Gan, discriminate, frozen_eval, generate
from rcas_plugin.labels import SwapDataset, resolve_labels
from rcas_plugin.methods.base import Context
from rcas_plugin.record import read_record
from rcas_plugin.registry import methods
from rcas_plugin.same_swap import same_swap, settings_of
from rcas_plugin.studiogan.folding import fold_checkpoint
from rcas_plugin.weights.adapters import adapted, fold_state

from .fixtures import toy
from .shared import go_on

FIXTURES = Path(__file__).parent / "fixtures"
CHECKPOINTS = sorted(folder.name for folder in (FIXTURES / "checkpoints").iterdir())
SWAPS = [name for name in CHECKPOINTS if name != "pretrained"]
ADAPTED = ["more_labels", "stage_bn", "stage_ft"]
STOPPED, STEPS = 4, 8


@dataclass
class Resumed:
    """A run that goes on: its networks and optimisers as they were saved, and the steps that it makes.

    Attributes:
        gan: the networks.
        optimizers: by role.
        step: makes one step of training, counted from 0.
        source: draws the batches of `step`.
    """

    gan: Gan
    optimizers: Mapping[str, torch.optim.Optimizer]
    step: Callable[[int], None]
    source: torch.Generator


def resumed(folder: Path) -> Resumed:
    """The run of a fixture in newly built networks, the way an interrupted run goes on. The one place that knows how."""
    config, run = yaml.safe_load((folder / "config.yaml").read_text()), folder / "run"
    checkpoint = Checkpoint.read(run)
    settings = settings_of(checkpoint.record, config["RCAS"])
    images, targets, classes = read_images(folder / "data" / "train", 32)
    before = checkpoint.record.labels_before
    plan = resolve_labels(settings, config["DATA"]["num_classes"], classes, before, num_before=len(before))
    data = SwapDataset(torch.utils.data.TensorDataset(images), targets.tolist(), plan, balance=settings.balance)
    gan = loop.load_gan(folder / "config.yaml", None, seed=5)
    method = methods[settings.method](Context(settings, plan, 0, STEPS, run, log=lambda line: None))
    lifecycle = go_on(method, gan, checkpoint.states, checkpoint.step)
    source = torch.Generator()
    training = Loop(gan, images[[int(item) for item in data.items]], torch.tensor(data.labels), torch.tensor(plan.live),
                    config["OPTIMIZATION"], source, lifecycle=lifecycle)  # fmt: skip
    training.go_on(checkpoint)
    return Resumed(gan, training.optimizers, training.step, source)


@dataclass
class Fixture:
    """A copy of one fixture beside its data.

    Attributes:
        folder: holds `config.yaml`, `run` and `data`.
        expected: what the live networks answered when the checkpoint was written, and later.
        trained: the parameters that the optimisers held.
    """

    folder: Path
    expected: dict[str, Tensor]
    trained: list[str]

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def config(self) -> Any:
        return yaml.safe_load((self.folder / "config.yaml").read_text())


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Fixture]:
    """Name -> the fixture."""

    def copy(name: str) -> Fixture:
        folder = shutil.copytree(FIXTURES / "checkpoints" / name, tmp_path / name)
        toy.write_images(folder / "data", "abcd")
        with safe_open(folder / "expected.safetensors", "pt") as file:
            expected = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
            trained = json.loads((file.metadata() or {}).get("trained", "[]"))
        return Fixture(folder, expected, trained)

    return copy


def seen(gan: Gan, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The images of the fixture's latents, and D's logits of the fixture's real images."""
    real, labels = toy.real_images(int(expected["labels"].max()) + 1)
    with torch.no_grad(), frozen_eval(gan.generator, gan.discriminator):
        images = generate(gan.generator, expected["latents"], expected["labels"])
        return {"images": toy.thinned(images), "logits": discriminate(gan.discriminator, real, labels)["adv_output"]}


def assert_seen(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], moment: str = "", atol: float = 1e-5) -> None:
    for key, value in found.items():
        torch.testing.assert_close(
            value, expected[moment + key], rtol=atol, atol=atol, msg=lambda text, key=key: f"{key}: {text}"
        )


def folded_gan(fixture: Fixture, states: Mapping[str, Mapping[str, Any]]) -> Gan:
    """Plain networks of the fixture's config with these state dicts."""
    gan = loop.load_gan(fixture.folder / "config.yaml", None, seed=5)
    for name, network in gan.networks.items():
        network.load_state_dict(states[name])
    return gan


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_folds_to_the_same_images(name: str, written: Callable[[str], Fixture]) -> None:
    fixture = written(name)
    states = read_states(fixture.run)
    assert bool(adapted(states["generator"])) == (name in ADAPTED)
    gan = folded_gan(fixture, {network: fold_state(state) for network, state in states.items()})
    assert_seen(seen(gan, fixture.expected), fixture.expected)


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("name", ADAPTED)
def test_the_command_folds_it(name: str, written: Callable[[str], Fixture], tmp_path: Path) -> None:
    fixture, out = written(name), tmp_path / "folded"
    files = fold_checkpoint(fixture.run, out)
    assert {"similarity.json", "rcas.json"} <= set(files)
    states = read_states(out)
    assert not adapted(states["generator"])
    gan = folded_gan(fixture, states)
    assert_seen(seen(gan, fixture.expected), fixture.expected)
    for network, role in (("G", gan.generator), ("D", gan.discriminator)):
        content = read_checkpoint(checkpoint_files(out)[network])["optimizer"]
        assert sum(len(group["params"]) for group in content["param_groups"]) == len(list(role.parameters()))
    if name == "stage_bn":  # the one fixture that kept its best checkpoint too
        best = read_states(out, best=True)
        assert_seen(seen(folded_gan(fixture, best), fixture.expected), fixture.expected)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_new_swap_can_start_from_it(name: str, written: Callable[[str], Fixture]) -> None:
    fixture = written(name)
    gan = loop.load_gan(fixture.folder / "config.yaml", fixture.run)
    assert_seen(seen(gan, fixture.expected), fixture.expected)


@pytest.mark.parametrize("name", SWAPS)
def test_goes_on_with_the_same_networks_and_optimisers(name: str, written: Callable[[str], Fixture]) -> None:
    fixture = written(name)
    run, expected = resumed(fixture.folder), fixture.expected
    assert_seen(seen(run.gan, expected), expected)
    networks = {"generator": run.gan.generator, "discriminator": run.gan.discriminator}
    assert toy.trained(networks, run.optimizers) == fixture.trained
    for optimizer in run.optimizers.values():
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(optimizer.state), "states fit"
        assert all(state["step"] > 0 for state in optimizer.state.values())

    toy.update(run.gan.generator, run.gan.discriminator, run.optimizers, int(expected["labels"].max()) + 1)
    found = seen(run.gan, expected)
    assert_seen(found, expected, "updated.", atol=1e-4)
    assert all((found[key] - expected[key]).abs().max() > 1e-3 for key in found), "the update moves both networks"


@pytest.mark.parametrize("name", ["fine_tune", "more_labels", "stage_bn"])
def test_ends_as_the_run_without_an_interruption(name: str, written: Callable[[str], Fixture]) -> None:
    fixture = written(name)
    run, expected = resumed(fixture.folder), fixture.expected
    run.source.set_state(expected["source"])
    for step in range(STOPPED, STEPS):
        run.step(step)
    found = seen(run.gan, expected)
    assert_seen(found, expected, "end.", atol=1e-3)
    assert all((found[key] - expected[key]).abs().max() > 0.02 for key in found), "the steps move both networks"


@pytest.mark.parametrize("name", SWAPS)
def test_its_section_asks_for_the_same_swap(name: str, written: Callable[[str], Fixture]) -> None:
    fixture = written(name)
    record, section = read_record(fixture.run), fixture.config["RCAS"]
    assert same_swap(record, settings_of(record, section))
    other = {**section, "balance": False}
    assert not same_swap(record, settings_of(record, other)), "another swap"


def test_the_class_behind_each_label(written: Callable[[str], Fixture]) -> None:
    assert read_record(written("pretrained").run).labels == ("a", "b", "c")
    for name in SWAPS:
        record = read_record(written(name).run)
        assert record.labels_before == ("a", "b", "c")
        assert record.labels == (("a", "b", "c", "d") if name == "more_labels" else ("a", "d", "c"))


@pytest.mark.parametrize("name", ["class_swap", "stage_ft"])
def test_keeps_to_the_pretrained_generator_that_it_started_from(name: str, written: Callable[[str], Fixture]) -> None:
    fixture, before = written(name), written("pretrained").expected
    gan = folded_gan(
        fixture, {**read_states(fixture.run, folded=True), "generator": load_file(fixture.run / "retained.safetensors")}
    )
    found = seen(gan, before)["images"]
    assert_seen({"images": found}, before)
    assert (found - fixture.expected["images"]).abs().max() > 0.1, "training has moved the generator"
    (fixture.run / "retained.safetensors").unlink()
    with pytest.raises(RcasError, match=r"RCAS.retain: .*retained.safetensors is missing"):
        resumed(fixture.folder)
