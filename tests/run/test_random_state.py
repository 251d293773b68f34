"""What a run keeps of its random draws, and draws on from."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from rcas_plugin.run.random_state import DataPosition, load_random_state, random_state_file, save_random_state

CPU = torch.device("cpu")


def draws(source: torch.Generator) -> list[float]:
    return [
        float(torch.rand(())), float(torch.rand((), generator=source)), float(np.random.rand()), float(np.random.randn()),
        random.random(), random.gauss(0, 1),
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _states_as_they_were() -> object:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


def test_every_source_draws_on(tmp_path: Path) -> None:
    source = torch.Generator().manual_seed(3)
    draws(source)  # leaves half a pair of normals in numpy and in Python
    save_random_state(tmp_path, 1, 40, {"latents": source}, DataPosition(2, 7), CPU)
    expected = draws(source)
    assert expected != draws(source)
    other = torch.Generator()
    loaded = load_random_state(tmp_path, 1, 40, {"latents": other, "unknown": torch.Generator()})
    assert loaded is not None
    assert loaded.data == DataPosition(2, 7)
    loaded.draw_on(CPU)
    assert draws(other) == expected


def test_a_file_of_another_step_or_none_begins_anew(tmp_path: Path) -> None:
    assert load_random_state(tmp_path, 0, 40, {}) is None
    save_random_state(tmp_path, 0, 40, {}, DataPosition(), CPU)
    assert load_random_state(tmp_path, 0, 39, {}) is None
    assert load_random_state(tmp_path, 1, 40, {}) is None
    path = random_state_file(tmp_path, 0)
    path.write_bytes(path.read_bytes()[:100])
    assert load_random_state(tmp_path, 0, 40, {}) is None, "cut short"
