"""Swaps in a row on a grid: what a row comes to, by hand, and tiny runs that go on."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import DataClasses, resolve_labels
from rcas_plugin.methods.pretrained import Pretrained
from rcas_plugin.run import lifecycle
from rcas_plugin.settings import parse_settings


@pytest.fixture
def bench(load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script("bench_sequence")
    monkeypatch.setattr(module, "A_CLASS", 6)
    monkeypatch.setattr(module, "JUDGED", 6)
    config = {**module.CONFIG, "MODEL": {**module.CONFIG["MODEL"], "g_conv_dim": 1, "d_conv_dim": 2}}
    monkeypatch.setattr(module, "CONFIG", {**config, "OPTIMIZATION": {**config["OPTIMIZATION"], "batch_size": 8}})
    tiny = dataclasses.replace(module.SEQUENCES["mnist"], swaps=((4, 5), (5, 6)), steps=3, pretrain_steps=2, judge_epochs=1)
    monkeypatch.setitem(module.SEQUENCES, "mnist", tiny)
    return module


@pytest.fixture
def sequence(bench: ModuleType) -> ModuleType:
    """`swap_grid.sequence`, which can be imported once a script has been loaded."""
    del bench
    return importlib.import_module("swap_grid.sequence")


def seen(recognised: float, distance: float, **called: float) -> dict[str, Any]:
    return {"recognised": recognised, "distance": distance, "as": called}


#: Classes a and b are pre-trained; b gives way to c, then a to d.
ROW = {
    "start": {"a": seen(0.9, 5.0), "b": seen(0.8, 5.0)},
    "swaps": [
        {"slot": "b", "new": "c", "seconds": 10.0, "parameters": 7,
         "classes": {"a": seen(0.8, 6.0), "c": seen(0.7, 20.0, b=0.1)}},
        {"slot": "a", "new": "d", "seconds": 12.0, "parameters": 9,
         "classes": {"d": seen(0.6, 30.0, a=0.3), "c": seen(0.5, 25.0)}},
    ],
}  # fmt: skip


def begun(remaining: float) -> dict[str, Any]:
    """A row of one swap, after which the remaining class is recognised in that share."""
    swap = {**ROW["swaps"][0], "classes": {"a": seen(remaining, 6.0), "c": seen(0.7, 20.0, b=0.1)}}
    return {**ROW, "swaps": [swap]}


def test_a_row_by_hand(sequence: ModuleType) -> None:
    figures = sequence.after_one(ROW) | sequence.after_all(ROW, ("a", "b"))
    wanted = {
        "new, one swap: distance": 20.0, "new, one swap: recognised": 70.0, "old class left, one swap": 10.0,
        "remaining, one swap: recognised": 80.0, "remaining, one swap: distance": 6.0,
        "new: distance": 25.0, "new: recognised": 65.0, "seen as the old class": 20.0,
        "remaining, all swaps: recognised": 50.0, "remaining, all swaps: distance": 25.0, "forgetting": 20.0,
        "backward transfer": -20.0, "parameters added in G": 16, "seconds": 22.0,
    }  # fmt: skip
    assert figures.keys() == wanted.keys()
    assert all(math.isclose(figures[name], value, abs_tol=1e-9) for name, value in wanted.items())


def test_a_row_of_one_swap_counts_for_one_swap_alone(sequence: ModuleType) -> None:
    table = sequence.table_of({"rcas, real": [ROW, begun(0.6)], "rcas, none": [begun(0.6)]}, ("a", "b"), 2)
    assert [table[name][runs] for name in table for runs in ("runs", "runs of all swaps")] == [2, 1, 1, 0]
    assert math.isclose(table["rcas, real"][sequence.AFTER_ONE][0], 70)
    assert math.isclose(table["rcas, real"][sequence.AFTER_ALL][0], 50)
    assert sequence.AFTER_ALL not in table["rcas, none"]


def test_runs_are_compared_with_the_same_seed_on_real_images(sequence: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        ("rcas", "real"): {0: ROW, 1: begun(0.6)},
        ("rcas", "replay"): {0: begun(0.5), 1: begun(0.5), 2: begun(0.1)},  # without a third on real images
        ("rcas", "none"): {0: ROW},
        ("gan_memory", "own"): {0: ROW},
    }
    differences = sequence.less_than_real(rows, ("a", "b"), 2)
    assert set(differences) == {"rcas, replay", "rcas, none"}
    replay = differences["rcas, replay"]
    assert replay["runs"] == 2
    assert math.isclose(replay[sequence.AFTER_ONE][0], (-30 - 10) / 2)
    assert sequence.AFTER_ALL not in replay, "a row of one swap has no figure after two"
    assert differences["rcas, none"][sequence.AFTER_ALL][0] == 0
    assert differences["rcas, none"]["runs of all swaps"] == 1
    table = sequence.table_of({"rcas, real": [ROW, begun(0.6)]}, ("a", "b"), 2)
    sequence.print_tables("digits", table, differences)
    printed = capsys.readouterr().out
    assert "| rcas, real | 2 | 20.0 | 70.0 | 10.0 | 70.0 [-57.1, 197.1] | 6.0 |" in printed
    assert "| rcas, real | 1 | 25.0 | 65.0 | 20.0 | 50.0 | 25.0 | 20.0 | 16.0 | 22.0 |" in printed
    assert "| rcas, replay | 2 | -20.0 [-147.1, +107.1] |  |  |\n| rcas, none | 1 | +0.0 | 1 | +0.0 |" in printed


def test_images_that_are_drawn_once_come_again(bench: ModuleType) -> None:
    """A row with `memory` replays the same few images; one with `replay` new ones, to the end."""
    plan = resolve_labels(parse_settings({"swap": {"b": "d"}, "remaining_data": "replay"}), 3,
                          DataClasses(("a", "b", "c", "d"), (1,) * 4), ("a", "b", "c"))  # fmt: skip
    pretrained = Pretrained(Gan(Generator(8, 3, 1), Discriminator(3, 1), None, gaussian_latents(8)))
    images, labels = torch.zeros(64, 3, 32, 32), torch.full((64,), 1)

    def replayed() -> tuple[int, int]:
        """Of four batches: how many images are replayed, and how many of them differ."""
        batches = lifecycle.ReplayedBatches(pretrained, plan, drawn=plan.live, seed=0)
        shown = [batches(images, labels, torch.device("cpu")) for _ in range(4)]
        made = torch.cat([batch[of != 1] for batch, of in shown])
        return len(made), len(made.flatten(1).mul(1000).round().unique(dim=0))

    count, different = replayed()
    assert count == different > 100
    with bench.drawn_once(5):
        count, different = replayed()
    assert count > 100
    assert different == 10, "five of each of two remaining labels"
    assert replayed()[1] > 100


def test_a_method_that_shows_new_classes_alone_has_one_row(bench: ModuleType) -> None:
    rows = bench.rows_of("mnist", ["class_swap", "gan_memory", "feature_replay"], ["real", "replay", "none"], 2)
    assert [(row.method, row.data) for row in rows if row.seed == 0] == [
        ("class_swap", "real"), ("class_swap", "replay"), ("class_swap", "none"), ("gan_memory", "own"),
        ("feature_replay", "real"), ("feature_replay", "replay"),
    ]  # fmt: skip
    assert [row.seed for row in rows] == [0] * 6 + [1] * 6
    assert [row.section.get("remaining_data") for row in rows[:4]] == ["real", "replay", "none", None]


@pytest.mark.slow
@pytest.mark.usefixtures("short_runs")
def test_an_interrupted_grid_goes_on(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = np.random.default_rng(0)
    images, labels = source.integers(0, 255, (60, 28, 28), dtype=np.uint8), np.arange(60) % 10
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    command = ["--mnist", str(tmp_path / "mnist.npz"), "--out", str(tmp_path / "out"), "--seeds", "1", "--data", "replay"]
    trained: list[str] = []
    train = bench.train

    def interrupted(config: Path, *args: Any, **options: Any) -> Path:
        trained.append(config.parent.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        folder: Path = train(config, *args, **options)
        return folder

    monkeypatch.setattr(bench, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.main([*command, "--methods", "fine_tune", "gan_memory"])
    bench.main([*command, "--methods", "fine_tune", "gan_memory", "--swaps", "1"])
    assert trained == ["mnist", "0", "1", "0"], "the pre-training and the first swap are not done again"
    bench.main([*command, "--methods", "fine_tune", "gan_memory"])
    assert trained == ["mnist", "0", "1", "0", "1", "1"], "all others follow"
    results = json.loads((tmp_path / "out" / "bench_sequence.json").read_text())["mnist"]
    table = results["table"]
    assert set(table) == {"fine_tune, replay", "gan_memory, own"}
    assert table["gan_memory, own"]["parameters added in G"][0] > 0
    assert table["gan_memory, own"]["forgetting"][0] == 0
    first, second = (swap["classes"] for swap in results["rows"]["gan_memory, own, 0"]["swaps"])
    kept = set(first) & set(second)
    assert kept
    assert all(first[name] == second[name] for name in kept), "the same images, and the same figures to the last digit"
