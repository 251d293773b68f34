"""Training images are held out by photograph."""

from __future__ import annotations

import re

import pytest

from rcas_plugin import RcasError
from rcas_plugin.utility.photographs import PATTERN, compile_pattern, held_out, photograph_of


def test_the_photograph_of_a_file() -> None:
    pattern = compile_pattern(PATTERN)
    assert photograph_of("data/crack/0012_3.png", "crack", pattern) == "crack/0012"
    assert photograph_of("data/crack/0012_14.png", "crack", pattern) == "crack/0012"
    assert photograph_of("data/fray/0012_3.png", "fray", pattern) == "fray/0012"
    assert photograph_of("data/cat/0012.jpg", "cat", pattern) == "cat/0012"
    assert photograph_of("data/cat/a_2.jpg", "cat", pattern) == "cat/a_2", "no number, no crop"
    assert photograph_of("x/part-7-left.png", "c", re.compile(r"part-(\d+)")) == "c/7"


@pytest.mark.parametrize(("text", "said"), [("(", "no regular expression"), (r"\d+", "no group in brackets")])
def test_a_pattern_that_names_no_photograph_is_refused(text: str, said: str) -> None:
    with pytest.raises(RcasError, match=f"--group.*{said}"):
        compile_pattern(text)


def test_photographs_stay_whole() -> None:
    photographs = [f"c/{index // 4}" for index in range(40)]
    for seed in range(5):
        chosen = held_out(photographs, seed)
        kept_back = {photographs[position] for position in chosen}
        left = {photographs[position] for position in range(40) if position not in chosen}
        assert not kept_back & left
        assert len(chosen) == 12, "a quarter of 40, up to whole photographs of 4"
    assert held_out(photographs, 0) != held_out(photographs, 1)
    assert held_out(photographs, 0) == held_out(photographs, 0)


@pytest.mark.parametrize(("photographs", "count"), [(["a", "a", "a", "b"], None), (["a"] * 8, 2), (["a", "b"], 1)])
def test_something_is_held_out_and_something_is_left(photographs: list[str], count: int | None) -> None:
    for seed in range(4):
        chosen = held_out(photographs, seed)
        assert 0 < len(chosen) < len(photographs)
        assert count is None or len(chosen) == count
