"""Lambda: the published schedules to the number, and distances by hand."""

from __future__ import annotations

import math

import hypothesis
import hypothesis.strategies as st
import pytest
import torch

from rcas_plugin.methods.piggyback.schedule import (
    feature_distance,
    filter_count,
    layer_parts,
    mirrored_parts,
    pair_distance,
    task_part,
)


@pytest.mark.parametrize(
    ("part", "filters", "count"),
    [(0.25, 256, 64), (0.25, 3, 1), (0.25, 5, 2), (1.0, 7, 7), (1 / 64, 64, 1), (1 / 64, 65, 2), (0.07, 100, 7), (1e-9, 10, 1)],
)
def test_the_number_of_own_filters(part: float, filters: int, count: int) -> None:
    assert filter_count(part, filters) == count


@hypothesis.given(st.integers(1, 64), st.integers(1, 2048))
def test_sixty_fourths_are_exact(steps: int, filters: int) -> None:
    assert filter_count(steps / 64, filters) == -(-steps * filters // 64)


def test_the_published_schedule() -> None:
    published = [3, 3, 4, 5, 6, 7, 9, 11, 14, 17, 21, 27, 33, 41, 52, 64]
    assert [64 * part for part in layer_parts(16)] == published
    assert [64 * part for part in layer_parts(16, floor=1 / 8)] == [max(part, 8) for part in published]
    assert layer_parts(1) == [1.0]


@pytest.mark.parametrize("ratio", [0.8, 0.75])
def test_the_mirrored_schedule(ratio: float) -> None:
    half = [max(math.ceil(64 * ratio * ratio**i) / 64, 1 / 8) for i in range(8)]
    assert mirrored_parts(16, ratio, ratio) == [*half, *reversed(half)]
    assert mirrored_parts(5, ratio, ratio) == [*half[:3], *reversed(half[:2])]


@pytest.mark.parametrize(
    ("distance", "part"),
    [(0.0, 1 / 64), (0.001, 1 / 64), (0.25, 16 / 64), (0.2551, 16 / 64), (0.9999, 1.0), (1.0, 1.0), (2.0, 1.0)],
)
def test_lambda_of_a_distance(distance: float, part: float) -> None:
    assert task_part(distance) == part


def test_distances_of_pairs() -> None:
    ones = torch.ones(2, 1, 2, 2)
    assert pair_distance(-ones, ones) == 1
    assert pair_distance(ones, ones) == 0
    assert pair_distance(torch.zeros(2, 1, 2, 2), ones) == 0.5
    assert pair_distance(-ones, ones, "cosine") == pytest.approx(1)
    assert pair_distance(ones, ones, "cosine") == pytest.approx(0, abs=1e-6), "alike is near"
    x, y = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[3.0, 4.0]]]])
    assert pair_distance(x, y, "cosine") == pytest.approx((1 - 0.6) / 2)


def test_the_distance_of_features() -> None:
    generated, real = [torch.tensor([[1.0, 3.0], [3.0, 1.0]])], [torch.tensor([[0.0, 4.0]])]
    assert feature_distance(generated, real) == pytest.approx((2 + 2) / (2 + 2 + 0 + 4))
    zeros = [torch.zeros(3, 2)]
    assert feature_distance([*generated, *zeros], [*real, *zeros]) == pytest.approx(0.25), "the mean over layers"
    assert feature_distance(generated, generated) == 0
    assert feature_distance([-generated[0]], generated) == 1
