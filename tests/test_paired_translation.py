"""Two tasks of translation on one bank of filters: pairs by hand, tiny runs, an interrupted one."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

ROWS = ["real images", "edges to digit: as it was learned", "edges to digit: restored after piggyback",
        "edges to digit: after fine-tuning on the second task", "inverted to digit: piggyback",
        "inverted to digit: fine-tuned", "inverted to digit: a network of its own"]  # fmt: skip


@pytest.fixture
def script(load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script("paired_translation")
    load = module.load_pairs

    def few(*args: Any) -> Any:
        digits = load(*args)
        return dataclasses.replace(digits, images=digits.images[:64], labels=digits.labels[:64],
                                   held_out=digits.held_out[:40], held_out_labels=digits.held_out_labels[:40])  # fmt: skip

    monkeypatch.setattr(module, "load_pairs", few)
    return module


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, *options: object) -> dict[str, Any]:
    arguments = ["paired_translation.py", "--out", out, "--steps", 6, "--width", 4, *options]
    monkeypatch.setattr("sys.argv", [str(argument) for argument in arguments])
    script.main()
    results: dict[str, Any] = json.loads((out / "paired_translation.json").read_text())
    return results


def test_the_first_task_comes_back_to_the_bit(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(script, monkeypatch, tmp_path / "out")
    printed = capsys.readouterr().out
    assert list(results["rows"]) == ROWS
    assert results["first_restored_to_the_bit"]
    assert results["second_restored_to_the_bit"]
    first, restored, tuned = (results["rows"][name] for name in ROWS[1:4])
    assert first == restored
    assert tuned != first, "fine-tuning has moved what the first task uses"
    assert 0 < results["numbers_of_the_second_task"] < results["numbers_of_the_network"]
    assert "first task restored to the bit: yes" in printed
    assert f"| {ROWS[4]} | {results['rows'][ROWS[4]]['distance']:.2f} | " in printed
    # three layers down and three up of 4, 8, 16 and 8, 4, 1 filters: a quarter of each, and all of the last
    assert "the bank has 41 filters, the task adds 11; " in printed
    again = run(script, monkeypatch, tmp_path / "out")
    assert again["rows"] == results["rows"]
    with pytest.raises(SystemExit, match="holds networks of other settings"):
        run(script, monkeypatch, tmp_path / "out", "--part", "layer")


@pytest.mark.parametrize("part", ["layer", "mirrored", "task"])
def test_lambda(script: ModuleType, tmp_path: Path, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = argparse.Namespace(out=tmp_path, size=16, width=4, steps=1, part=part, init="published", seed=0)
    translators = script.Translators(script.load_pairs(16), args)
    base = translators.new().state_dict()
    task = translators.piggyback(base)
    if part == "task":
        inputs, targets = -translators.digits.images, translators.digits.images
        with torch.no_grad():
            distance = float((translators.new(base)(inputs) - targets).abs().mean()) / 2
        assert (
            f"distance of the second task from the first: {distance:.3f}, lambda {round(64 * distance) / 64}"
            in capsys.readouterr().out
        )
    assert len(task.tensors["up.2.weight/new"]) == 8, "the last layer has all of its own, along the second dimension"


@pytest.mark.usefixtures("heard")
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, networks = importlib.import_module("paired.training"), importlib.import_module("paired.networks")
    images = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def fit(path: Path) -> nn.Module:
        torch.manual_seed(0)
        network = networks.UNet(16, 2)
        training.fit(network, list(network.parameters()), images, -images, 6, path, name="test", seed=1)
        return network

    whole = fit(tmp_path / "none.pth")
    step, count = training._step, iter(range(100))

    def pressed(*args: Any) -> None:
        if next(count) == 3:
            signal.raise_signal(signal.SIGINT)
        step(*args)

    monkeypatch.setattr(training, "_step", pressed)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "state.pth")
    assert torch.load(tmp_path / "state.pth", weights_only=True)["step"] == 4, "the step in which it was pressed is whole"
    gone_on = fit(tmp_path / "state.pth")
    assert next(count) == 6, "no step is made twice, none is left out"
    assert all(
        torch.equal(one, other) for one, other in zip(whole.state_dict().values(), gone_on.state_dict().values(), strict=True)
    )


def test_pairs(script: ModuleType, tmp_path: Path) -> None:
    pairs = importlib.import_module("paired.pairs")
    image = torch.full((2, 1, 8, 8), -1.0)
    image[1, :, :, 4:] = 1.0
    outlines: Tensor = pairs.edges(image)
    assert outlines[0].eq(-1).all(), "nothing to see"
    assert outlines[1, 0, 3].tolist() == [-1, -1, -1, 1, 1, -1, -1, -1]
    digits = pairs.load_pairs(16)
    assert digits.images.shape == (1437, 1, 16, 16)
    assert digits.held_out.shape == (360, 1, 16, 16)
    assert (digits.images.min(), digits.images.max()) == (-1, 1)
    data = np.random.default_rng(0).integers(0, 256, (2, 5, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=data[0], x_test=data[1], y_train=np.arange(5), y_test=np.arange(5))
    mnist = pairs.load_pairs(32, tmp_path / "mnist.npz", 4)
    assert (len(mnist.images), len(mnist.held_out)) == (4, 2)
    assert mnist.images.shape[1:] == (1, 32, 32)


@pytest.mark.parametrize("size", [16, 32])
def test_the_network(script: ModuleType, size: int) -> None:
    network = importlib.import_module("paired.networks").UNet(size, 2)
    images = network(torch.zeros(3, 1, size, size))
    assert images.shape == (3, 1, size, size)
    kinds = [type(module) for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    assert kinds == [nn.Conv2d] * (len(kinds) // 2) + [nn.ConvTranspose2d] * (len(kinds) // 2)
    assert len(kinds) == {16: 6, 32: 8}[size]
