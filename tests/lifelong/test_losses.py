"""The losses of feature replay against a computation by hand, in float64."""

from __future__ import annotations

import math

import pytest
import torch

from rcas_plugin.lifelong.losses import distillation, feature_distance, new_classes

STUDENT = torch.tensor([[1.0, -0.5, 2.0], [0.3, 0.7, -1.0]], dtype=torch.float64)
TEACHER = torch.tensor([[0.2, 1.1], [-0.4, 0.9]], dtype=torch.float64)


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distillation_is_over_the_old_classes_with_the_students_softmax_over_all(temperature: float) -> None:
    total = 0.0
    for student, teacher in zip(STUDENT.tolist(), TEACHER.tolist(), strict=True):
        of_all = softmax([value / temperature for value in student])
        of_old = softmax([value / temperature for value in teacher])
        total -= sum(wanted * math.log(of_all[place]) for place, wanted in enumerate(of_old))
    assert float(distillation(STUDENT, TEACHER, temperature)) == pytest.approx(total / 2, abs=1e-14)


def test_distillation_falls_as_the_new_class_is_named_less() -> None:
    less = STUDENT.clone()
    less[:, 2] -= 3
    assert distillation(less, TEACHER) < distillation(STUDENT, TEACHER)


def test_the_distance_of_features_is_not_squared() -> None:
    before = torch.zeros(2, 1, 1, 2, dtype=torch.float64)
    after = torch.tensor([[[[3.0, 4.0]]], [[[0.0, 2.0]]]], dtype=torch.float64)
    assert float(feature_distance(after, before)) == pytest.approx((5 + 2) / 2, abs=1e-14)


def test_new_images_are_told_from_all_classes() -> None:
    labels = [2, 1]
    wanted = -sum(math.log(softmax(row)[label]) for row, label in zip(STUDENT.tolist(), labels, strict=True)) / 2
    assert float(new_classes(STUDENT, torch.tensor(labels))) == pytest.approx(wanted, abs=1e-14)
