"""The grid's table from rows written by hand, and one tiny row that is really run."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.embedded.steps import Loop
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import LabelPlan
from rcas_plugin.metrics.classifier import Classifier
from rcas_plugin.weights.label_bound import LabelBound

PAIRS = ((("9",), ("0",)), (("4",), ("0",)))


@pytest.fixture
def bench(load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script("bench_swap")
    monkeypatch.setitem(module.PARTS, "mnist", dataclasses.replace(module.PARTS["mnist"], steps=40, pairs=PAIRS))
    monkeypatch.setitem(module.OPTIONS, "batch_size", 4)
    monkeypatch.setattr("swap_grid.runs.EARLY", (2,))
    return module


def row(distances: dict[int, float], prepare_s: float = 0.0, old: float = 0.0, remaining: float = 0.9) -> dict[str, Any]:
    point = {"new": 1.0, "old": old, "remaining": remaining, "remaining_distance": 3.0}
    curve = {str(step): {"distance": distance, **point} for step, distance in distances.items()}
    return {
        "before": {"distance": 100.0, **point, "remaining": 1.0},
        "stale": None,
        "curve": curve,
        "prepare_s": prepare_s,
        "step_s": 0.5,
    }


def test_the_table_counts_preparation_as_steps(bench: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    for pair in PAIRS:
        for name, content in (
            ("fine_tune", row({0: 100, 10: 80, 20: 60, 30: 20, 40: 20}, old=1.0, remaining=1.0)),
            ("class_swap", row({0: 30, 10: 10, 20: 10, 30: 10, 40: 10}, prepare_s=5.0)),
        ):
            bench.Row("mnist", 0, pair, name, 0).file(tmp_path).write_text(json.dumps(content))
    args = argparse.Namespace(methods=["fine_tune", "class_swap"], seeds=2, images=[0], out=tmp_path)
    table = bench.compare(args, "mnist")
    swap = table["class_swap"]
    assert swap["runs"] == 2, "the second seed has no rows yet"
    # fine_tune ends at 20 and is there at step 30; class_swap starts after 5 s = 10 steps at 30 and falls to 20 in 5 more
    assert swap["steps, of fine_tune's"][0] == pytest.approx(15 / 30)
    plain = (90 + 70 + 40 + 20) / 4
    own = ((100 + 30) / 2 + (30 + 10) / 2 + 10 + 10) / 4
    assert swap["area, of fine_tune's"][0] == pytest.approx(own / plain)
    assert swap["remaining kept at once"][0] == pytest.approx(0.9)
    assert swap["preparation, in steps"][0] == 10
    assert swap["level not reached"][0] == 0
    assert table["fine_tune"]["steps, of fine_tune's"] == (1, 1, 1)


def test_a_level_that_is_never_reached_counts_as_all_steps(bench: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    bench.Row("mnist", 0, (("9",), ("0",)), "fine_tune", 0).file(tmp_path).write_text(json.dumps(row({0: 100, 20: 10, 40: 10})))
    bench.Row("mnist", 0, (("9",), ("0",)), "rcas", 0).file(tmp_path).write_text(json.dumps(row({0: 100, 20: 90, 40: 90})))
    table = bench.compare(argparse.Namespace(methods=["rcas"], seeds=1, images=[0], out=tmp_path), "mnist")
    assert table["rcas"]["level not reached"][0] == 1
    assert table["rcas"]["steps, of fine_tune's"][0] == pytest.approx(40 / 20)


def tiny(bench: ModuleType, images: int = 40) -> Any:
    """Random images and a random judge: (data, judge)."""
    torch.manual_seed(0)
    drawn, classes = torch.rand(images, 1, 32, 32) - 0.5, torch.arange(images) % 10
    from swap_grid.data import Data
    from swap_grid.judge import features

    data = Data(tuple("0123456789"), drawn, classes, drawn, classes)
    classifier = Classifier(1, 10, width=2).eval()
    real = {index: features(classifier, drawn[classes == index]) for index in range(10)}
    return data, bench.Judge(classifier, 0.1, real)


def tiny_part(bench: ModuleType) -> Any:
    """A part of two steps."""
    return dataclasses.replace(bench.PARTS["mnist"], steps=2, slot_images=20, images=4)


def test_a_row(bench: ModuleType) -> None:
    swap = bench.Swap(*tiny(bench), ("9",), ("0",))
    gan = Gan(Generator(64, 9, 1), Discriminator(9, 1), None, gaussian_latents(64))
    found = bench.run_row(swap, gan, {"label_start": {"iterations": 2}}, seed=0, part=tiny_part(bench))
    assert set(found["curve"]) == {0, 2}
    assert found["prepare_s"] > 0
    assert found["step_s"] > 0
    assert found["stale"]["remaining"] == found["before"]["remaining"], "matching leaves the remaining labels as they are"
    assert {"distance", "kernel_distance", "new", "old", "remaining", "remaining_distance"} <= set(found["curve"][2])


@pytest.mark.parametrize("method", ["gan_memory", "piggyback"])
def test_a_row_of_a_method_that_leaves_the_remaining_labels_alone(bench: ModuleType, method: str) -> None:
    swap = bench.Swap(*tiny(bench), ("9",), ("0",))
    gan = Gan(Generator(64, 9, 1), Discriminator(9, 1), None, gaussian_latents(64))
    found = bench.run_row(swap, gan, bench.METHODS[method], seed=0, part=tiny_part(bench))
    before, last = found["before"], found["curve"][2]
    assert last["remaining_distance"] == before["remaining_distance"]
    assert last["distance"] != found["curve"][0]["distance"]


def test_d_goes_ahead_of_g(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three updates of D before the first of G: G's first state is what the match made of it, trial or not."""
    from swap_grid.trials import Trial

    swap = bench.Swap(*tiny(bench), ("9",), ("0",))
    start = Gan(Generator(64, 9, 1), Discriminator(9, 1), None, gaussian_latents(64))
    updates: list[str] = []
    for role in ("discriminator", "generator"):
        original = getattr(Loop, f"_update_{role}" if role == "generator" else "update_discriminator")

        def counted(self: Loop, step: int, role: str = role, original: Callable[..., None] = original) -> None:
            updates.append(role)
            original(self, step)

        monkeypatch.setattr(Loop, original.__name__, counted)
    found = {}
    for ahead in (0, 3):
        updates.clear()
        found[ahead] = bench.run_row(
            swap, copy.deepcopy(start), {"label_start": {"iterations": 2}}, 0, tiny_part(bench), trial=Trial(ahead=ahead)
        )
        assert updates == ["discriminator"] * ahead + ["discriminator", "generator"] * 2
    assert found[0]["curve"][0] == found[3]["curve"][0]
    assert found[0]["curve"][2] != found[3]["curve"][2]


def test_the_slots_columns_stay_within_the_others(bench: ModuleType) -> None:
    from swap_grid.trials import Trial

    bound = LabelBound("generator", "weight", torch.nn.Linear(5, 4), torch.nn.Parameter(torch.ones(4, 5)), dim=1, offset=2)
    bound.of(1).data.mul_(3)
    bound.weight.data[:, :2] = 99  # no label's columns
    limit = Trial(bounded=True)
    with limit.matching():
        nearest = bound.limit(2)
        assert nearest(torch.full((4,), 10.0)).tolist() == [3.0] * 4
        assert nearest(torch.full((4,), -2.0)).tolist() == [-2.0] * 4
    assert bound.limit(2)(torch.full((4,), 10.0)).tolist() == [10.0] * 4


def test_stage_bn_is_a_part_of_the_run(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.PARTS, "mnist", dataclasses.replace(bench.PARTS["mnist"], steps=720))
    name, pair = "bn_propagation, with ft", (("9",), ("0",))
    found = {part: bench.Row(part, 0, pair, name, 50).section["stages"] for part in ("mnist", "cifar")}
    assert found == {"mnist": {"bn": 72}, "cifar": {"bn": 48}}
    assert bench.Row("mnist", 0, pair, "bn_propagation", 50).section == {"method": "bn_propagation"}


def test_a_move_to_five_other_classes(bench: ModuleType) -> None:
    data, judge = tiny(bench)
    swap = bench.Swap(data, judge, tuple("01234"), tuple("56789"))
    gan = Gan(Generator(64, 5, 1), Discriminator(5, 1), None, gaussian_latents(64))
    section = {"method": "bn_propagation", "label_start": {"how": "mean"}}
    found = bench.run_row(swap, gan, section, seed=0, part=tiny_part(bench))
    assert "remaining" not in found["curve"][2]
    assert found["curve"][0]["distance"] > 0


def test_few_images_are_drawn_by_the_seed(bench: ModuleType) -> None:
    swap = bench.Swap(*tiny(bench, 100), ("9",), ("0",))
    plan = LabelPlan(9, {8: 0}, {label: label + 1 for label in range(8)}, (), ())
    from swap_grid.runs import balanced, training_data

    (images, labels), (again, _), (other, _) = (training_data(swap, plan, 3, seed) for seed in (0, 0, 1))
    assert torch.bincount(labels).tolist() == [10] * 8 + [3]
    assert torch.equal(images, again)
    assert not torch.equal(images, other)
    assert len(training_data(swap, plan, 0, 0)[1]) == 90
    assert torch.bincount(labels[balanced(labels, plan)]).tolist() == [10] * 8 + [9], "3 images, each shown three times"


def test_a_run_keeps_the_best_state_of_the_time_that_fine_tuning_takes(bench: ModuleType) -> None:
    from swap_grid.kept import kept_figures

    def states(**distances: float) -> dict[str, dict[str, float]]:
        point = {"new": 1.0, "old": 0.0, "remaining": 0.9, "remaining_distance": 4.0}
        return {step[1:]: {**point, "distance": value} for step, value in distances.items()}

    before = {"distance": 90.0, "new": 0.0, "old": 1.0, "remaining": 1.0, "remaining_distance": 4.0}
    plain = {"kept": "curve", "before": before, "curve": states(_0=90, _10=70, _20=60), "average": states(_0=90, _10=80, _20=50)}
    plain["curve"]["20"]["remaining_distance"] = plain["average"]["20"]["remaining_distance"] = 8.0
    row = {"kept": "average", "before": before, "curve": states(_0=40, _10=1, _20=1), "average": states(_0=40, _10=30, _20=20)}
    # fine-tuning's steps take 1 s, the run's 1.5 s after 4 s of preparation: at 19 s it has done ten of them
    figures = kept_figures(row, plain, (4.0, 1.5), (0.0, 1.0))
    assert figures["kept distance"] == 30, "of its average, which it keeps"
    assert figures["fine_tune's best"] == 50, "averaged or not, whatever is nearer"
    assert figures["kept, of fine_tune's best"] == pytest.approx(0.6)
    assert figures["kept, of its start"] == pytest.approx(30 / 40)
    assert figures["step of the kept state"] == 10
    assert figures["remaining, of fine_tune's"] == pytest.approx(0.5)
    assert figures["time to fine_tune's best, of its own"] == pytest.approx(4 / 20)
    row["average"]["10"]["remaining_distance"] = 50.0  # the rule's: nearer, but the others have suffered
    assert kept_figures(row, plain, (4.0, 1.5), (0.0, 1.0))["step of the kept state"] == 0
    late = kept_figures(row, plain, (4.0, 17.0), (0.0, 1.0))
    assert (late["step of the kept state"], late["fine_tune's best not reached"]) == (0, 0)


def test_what_a_judge_says_of_real_test_images(bench: ModuleType) -> None:
    data, judge = tiny(bench)
    said = judge.of_real(data, "3")
    assert said["distance"] == pytest.approx(0, abs=1e-2), "here the test images are the training images"
    shown = judge.classifier(data.test_images[data.test_classes == 3]).argmax(1)
    assert said["called"] == {str(digit): float((shown == digit).float().mean()) for digit in range(10)}
    assert sum(said["called"].values()) == pytest.approx(1)


def test_the_parts_of_the_grid_that_the_options_name(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def parts(*, narrow: bool = False, backbone: str = "resnet", transfer: bool = False) -> list[str]:
        return bench.parts_of(  # type: ignore[no-any-return]
            argparse.Namespace(mnist=Path(), cifar=None, tiles=Path(), narrow=narrow, backbone=backbone, transfer=transfer)
        )

    assert parts() == ["mnist", "tiles"]
    assert parts(narrow=True) == ["mnist, narrow", "tiles, narrow"]
    assert parts(narrow=True, backbone="big_resnet") == ["tiles, narrow, big_resnet"]
    assert parts(transfer=True) == ["transfer"]
    with pytest.raises(SystemExit):
        bench.main(["--mnist", "mnist.npz", "--backbone", "big_resnet"])
    assert "no part of the grid has these options" in capsys.readouterr().err
