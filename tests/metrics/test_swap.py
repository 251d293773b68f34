"""Swap metrics against libraries' on the same features, and against counts by hand."""

from __future__ import annotations

import contextlib
import io
import math
import warnings

import pytest
import torch
from prdc import compute_prdc
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from rcas_plugin.labels import DataClasses, LabelPlan, resolve_labels
from rcas_plugin.metrics.swap import NEAREST, SET_METRICS, in_words, set_metrics, swap_metrics
from rcas_plugin.settings import parse_settings


def features(n: int, seed: int, shift: float = 0.0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(n, 8, generator=source) @ torch.randn(8, 8, generator=torch.Generator().manual_seed(9)) + shift


class Through(nn.Module):
    num_features = 8

    def forward(self, images: Tensor) -> Tensor:
        return images


def test_equal_to_the_libraries() -> None:
    real, fake = features(150, 0), features(120, 1, 0.3)
    found = set_metrics(real, fake)
    metric = FrechetInceptionDistance(feature=Through()).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    assert found["frechet_distance"] == pytest.approx(float(metric.compute()), rel=1e-3)
    with contextlib.redirect_stdout(io.StringIO()):
        wanted = compute_prdc(real.numpy(), fake.numpy(), NEAREST)
    for name in ("precision", "recall", "density", "coverage"):
        assert found[name] == pytest.approx(float(wanted[name]), rel=1e-3), name
        assert float(wanted[name]) > 0, "a figure of zero would prove little"


def test_precision_to_coverage_by_hand() -> None:
    real, fake = features(12, 2), features(9, 3, 0.5)
    d = torch.cdist(real.double(), real.double())
    radius = d.sort(1).values[:, NEAREST]  # the image itself is the nearest of all
    own = torch.cdist(fake.double(), fake.double()).sort(1).values[:, NEAREST]
    across = torch.cdist(real.double(), fake.double())
    inside = across < radius[:, None]
    found = set_metrics(real, fake)
    assert found["precision"] == pytest.approx(inside.any(0).double().mean().item())
    assert found["recall"] == pytest.approx((across < own).any(1).double().mean().item())
    assert found["density"] == pytest.approx(inside.sum().item() / (NEAREST * len(fake)))
    assert found["coverage"] == pytest.approx((across.min(1).values < radius).double().mean().item())


def test_the_process_keeps_its_warning_filters() -> None:
    before = list(warnings.filters)
    for seed in range(5):
        set_metrics(features(300, seed), features(300, seed + 1))
    assert list(warnings.filters) == before


def test_few_images() -> None:
    assert set_metrics(features(2, 0), features(50, 1)) == dict.fromkeys(SET_METRICS)
    found = set_metrics(features(4, 0), features(50, 1))
    assert all(value is not None and math.isfinite(value) for value in found.values())


@pytest.fixture
def plan() -> LabelPlan:
    """Labels a, b, c; b's slot now shows d."""
    return resolve_labels(parse_settings({"swap": {"b": "d"}}), 3, DataClasses(tuple("abcd"), (5, 5, 5, 5)), "abc")


def sure(shown: Tensor, classes: int) -> Tensor:
    """The probabilities of a classifier that is sure of what it sees."""
    return torch.nn.functional.one_hot(shown, classes).float()


def test_the_leak_is_a_count(plan: LabelPlan) -> None:
    real = {name: features(20, index) for index, name in enumerate("abcd")}
    fakes = features(30, 7)
    labels = torch.arange(3).repeat_interleave(10)
    shown = torch.tensor([0] * 10 + [3] * 6 + [1] * 3 + [0] + [2] * 8 + [1] * 2)
    found = swap_metrics(plan, tuple("abcd"), real, fakes, sure(shown, 4), labels)
    assert found["old"]["left"] == 3 / 10
    assert found["new"]["recognised"] == 6 / 10
    assert found["remaining"]["recognised"] == (10 / 10 + 8 / 10) / 2
    assert found["confusion"] == {"0": [10, 0, 0, 0], "1": [1, 3, 0, 6], "2": [0, 2, 8, 0]}
    assert [(row["class"], row["part"]) for row in found["labels"]] == [("a", "remaining"), ("d", "new"), ("c", "remaining")]
    for figure in SET_METRICS:
        assert found["new"][figure] == set_metrics(real["d"], fakes[10:20])[figure]
        assert found["old"][figure] == set_metrics(real["b"], fakes[10:20])[figure]
        each = [set_metrics(real["a"], fakes[:10])[figure], set_metrics(real["c"], fakes[20:])[figure]]
        if figure != "kid_error":
            assert found["remaining"][figure] == pytest.approx(sum(value for value in each if value is not None) / 2)
    assert "old class 30.0% left" in in_words(found)


def test_what_is_left_of_the_old_class_by_hand(plan: LabelPlan) -> None:
    """Two images a label; b's slot is label 1, whose probabilities are (a, b, c, d)."""
    real = {name: features(20, index) for index, name in enumerate("abcd")}
    probabilities = torch.tensor([
        [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0],
        [0.0, 0.3, 0.0, 0.7], [0.25, 0.25, 0.25, 0.25],
        [0.0, 0.0, 1.0, 0.0], [0.9, 0.0, 0.1, 0.0],
    ])  # fmt: skip
    found = swap_metrics(plan, tuple("abcd"), real, features(6, 7), probabilities, torch.arange(3).repeat_interleave(2))
    assert found["old"]["probability"] == pytest.approx((0.3 + 0.25) / 2)
    of_first = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    assert found["new"]["entropy"] == pytest.approx((of_first + math.log(4)) / 2)
    of_c = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / 2
    assert [row["entropy"] for row in found["labels"][::2]] == pytest.approx([math.log(2) / 2, of_c])
    assert found["worst"] == {"recognised": {"label": 2, "class": "c", "value": 0.5}}, "two images are too few for a distance"


def test_the_worst_remaining_label_is_named(plan: LabelPlan) -> None:
    real = {name: features(20, index) for index, name in enumerate("abcd")}
    fakes = torch.cat([features(10, 0), features(10, 3), features(10, 2, 5.0)])
    shown = torch.tensor([0] * 7 + [1] * 3 + [3] * 10 + [2] * 9 + [0])
    found = swap_metrics(plan, tuple("abcd"), real, fakes, sure(shown, 4), torch.arange(3).repeat_interleave(10))
    assert found["worst"]["recognised"] == {"label": 0, "class": "a", "value": pytest.approx(0.7)}
    far = found["labels"][2]["frechet_distance"]
    assert found["worst"]["frechet_distance"] == {"label": 2, "class": "c", "value": far}
    assert far > found["labels"][0]["frechet_distance"]
    errors = [found["labels"][index]["kid_error"] for index in (0, 2)]
    assert found["remaining"]["kid_error"] == pytest.approx(math.sqrt(errors[0] ** 2 + errors[1] ** 2) / 2)


def test_an_old_class_that_the_judge_does_not_know(plan: LabelPlan) -> None:
    real = {name: features(20, index) for index, name in enumerate("acd")}
    shown = torch.tensor([0] * 10 + [2] * 10 + [1] * 10)
    labels = torch.arange(3).repeat_interleave(10)
    found = swap_metrics(plan, tuple("acd"), real, features(30, 7), sure(shown, 3), labels)
    assert found["old"] == {}
    assert found["new"]["recognised"] == 1.0
    assert "old" not in in_words(found)


def test_the_kernel_distance_is_a_library_s_mmd() -> None:
    # torchmetrics' own MMD of a linear kernel, for the way the means are taken; the kernel itself is scikit-learn's
    real, fake = features(40, 0).double(), features(40, 1, 1.0).double()
    k = [a @ b.T for a, b in ((real, real), (real, fake), (fake, fake))]
    unbiased = poly_mmd(real, fake, degree=1, gamma=1.0, coef=0.0)
    n = len(real)
    by_hand = (k[0].sum() - k[0].trace() + k[2].sum() - k[2].trace()) / (n * (n - 1)) - 2 * k[1].mean()
    assert float(unbiased) == pytest.approx(float(by_hand), rel=1e-9)
