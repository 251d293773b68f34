"""The judge's data: new classes from folders of their own, and old classes whose images are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset
from torchvision.transforms.functional import pil_to_tensor

from rcas_plugin.embedded.networks import Discriminator, Generator
from rcas_plugin.gan import Gan, gaussian_latents
from rcas_plugin.labels import DataClasses, LabelPlan, SwapDataset, resolve_labels
from rcas_plugin.metrics import judge as module
from rcas_plugin.metrics.judge import Judge, real_data
from rcas_plugin.settings import parse_settings

JudgeOf = Callable[..., Judge]
TARGETS = [index // 8 for index in range(32)]

pytestmark = pytest.mark.usefixtures("short_runs")


def plan_of(names: str = "abcd", counts: tuple[int, ...] = (8, 8, 8, 8), **section: object) -> LabelPlan:
    return resolve_labels(parse_settings({"swap": {"b": "d"}, **section}), 3, DataClasses(tuple(names), counts), "abc")


def test_a_whole_data_set_is_taken_as_it_is(squares: Tensor) -> None:
    base, plan = TensorDataset(squares), plan_of()
    found = real_data(base, TARGETS, "abcd", plan, SwapDataset(base, TARGETS, plan))
    assert found.data is base
    assert (found.targets, found.classes, found.gone) == (tuple(TARGETS), tuple("abcd"), ())
    assert found.key("x") == "x", "the same file as --eval_backbone domain's"


def test_a_new_class_from_a_folder_of_its_own(tmp_path: Path, squares: Tensor) -> None:
    for number in range(3):
        Image.new("RGB", (32, 32), (9, 9, 9)).save(tmp_path / f"{number}.png")
    base, plan = TensorDataset(squares[:24]), plan_of("abc", (8, 8, 8), new_data=str(tmp_path))
    swapped = SwapDataset(base, TARGETS[:24], plan, pil_to_tensor)
    found = real_data(base, TARGETS[:24], "abc", plan, swapped)
    assert found.classes == tuple("abcd")
    assert found.targets[24:] == (3, 3, 3)
    assert int(found.data[25][0].max()) == 9
    assert found.key("x") != "x"


def test_an_old_class_without_images_is_stood_in_for(squares: Tensor) -> None:
    kept = [index for index, target in enumerate(TARGETS) if target != 1]
    base, targets, plan = TensorDataset(squares[kept]), [0] * 8 + [1] * 8 + [2] * 8, plan_of("acd", (8, 8, 8))
    swapped = SwapDataset(base, targets, plan)
    asked = []

    def pretrained(label: int, count: int) -> Tensor:
        asked.append((label, count))
        return torch.zeros(count, 3, 32, 32)

    found = real_data(base, targets, "acd", plan, swapped, pretrained, "GAN")
    assert asked == [(label, module.STAND_INS) for label in range(3)], "every label's: what is generated does not tell the class"
    assert found.classes == tuple("acdb")
    assert found.targets[24:] == (0,) * 256 + (3,) * 256 + (1,) * 256
    assert found.gone == ("b",)
    alone = real_data(base, targets, "acd", plan, swapped, None, "GAN")
    assert alone.classes == tuple("acd")
    assert alone.key("x") == found.key("x") != "x", "a run that goes on finds the judge that it had"


def test_it_draws_nothing_from_the_training_s_numbers(
    tmp_path: Path, judge_of: JudgeOf, pair: tuple[Generator, Discriminator]
) -> None:
    gan = Gan(*pair, None, gaussian_latents(6))
    before = torch.get_rng_state()
    judge = judge_of(tmp_path)
    first = judge.measure(gan)
    judge.neighbours(gan, 1, 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert judge.measure(gan) == first, "the same latents each time"
    assert sum(map(sum, first["confusion"].values())) == 18
    assert [row["images"] for row in first["labels"]] == [6, 6, 6]


def test_neighbours_are_real_images_of_the_new_class(
    tmp_path: Path, judge_of: JudgeOf, squares: Tensor, pair: tuple[Generator, Discriminator]
) -> None:
    fakes, reals, found = judge_of(tmp_path).neighbours(Gan(*pair, None, gaussian_latents(6)), 1, 4)
    assert fakes.shape == reals.shape == (4, 3, 32, 32)
    assert len(found.distances) == 6
    of_d = squares[24:]
    assert all(any(torch.equal(real, own) for own in of_d) for real in reals)


def test_many_labels_have_fewer_images_each(tmp_path: Path, judge_of: JudgeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 12)
    assert judge_of(tmp_path, 100).images == 4


def test_a_second_judge_says_the_same_figures_of_the_same_images(
    tmp_path: Path, judge_of: JudgeOf, pair: tuple[Generator, Discriminator]
) -> None:
    gan, judge = Gan(*pair, None, gaussian_latents(6)), judge_of(tmp_path, second=True)
    measured = judge.measure(gan)
    assert {name: measured[name] for name in measured if name != "second"} == judge_of(tmp_path).measure(gan)
    assert set(measured["second"]) == {"new", "old", "remaining", "worst"}
    assert judge.second is not None
    swapped = Judge(judge.second, judge.plan, judge.images, judge._real_images).measure(gan)
    assert measured["second"] == {part: swapped[part] for part in measured["second"]}
    assert measured["second"]["new"]["frechet_distance"] != measured["new"]["frechet_distance"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-second.safetensors", "x.safetensors"]
    again = judge_of(tmp_path, second=True).measure(gan)
    assert again == measured, "it is read where it was written"
