"""How soon an old class comes back: the steps and the savings by hand, and what is refused."""

from __future__ import annotations

import pytest

from rcas_plugin import RcasError
from rcas_plugin.record import LineageSwap, Record
from rcas_plugin.studiogan.relearn import in_words, other_label, relearning, slot_of


def record_of(slots: dict[int, str], before: str, labels: str) -> Record:
    swap = LineageSwap.of("fine_tune", slots, before, labels)
    return Record(labels=tuple(labels), labels_before=tuple(before), slots=slots, lineage=(swap,))


def test_steps_are_read_between_two_looks() -> None:
    curves = {"relearned": {0: 0.0, 10: 0.6}, "fresh": {0: 0.0, 10: 0.1, 20: 0.3, 30: 0.5}}
    figures = relearning(curves, 0.4)
    assert figures["steps"]["relearned"] == pytest.approx(10 * 0.4 / 0.6)
    assert figures["steps"]["fresh"] == pytest.approx(25)
    assert figures["savings"] == pytest.approx(1 - (4 / 0.6) / 25)
    text = in_words("b", {"relearned": "d", "fresh": "a"}, figures)
    assert "after 7 steps in its old label (now d), after 25 steps in a label that never had it (a)" in text
    assert "73%" in text


def test_a_class_that_never_comes_has_no_savings() -> None:
    figures = relearning({"relearned": {0: 0.0, 10: 0.6}, "fresh": {0: 0.0, 10: 0.1}}, 0.4)
    assert figures["steps"]["fresh"] is None
    assert figures["savings"] is None
    assert "never in a label" in in_words("b", {"relearned": "d", "fresh": "a"}, figures)


def test_a_class_that_is_there_at_once_everywhere() -> None:
    assert relearning({"relearned": {0: 0.9}, "fresh": {0: 0.9}}, 0.5)["savings"] == 0.0


def test_slot_and_the_label_beside_it() -> None:
    record = record_of({1: "d"}, "abc", "adc")
    assert slot_of(record) == (1, "b", "d")
    assert other_label(record, 1, None) == "a"
    assert other_label(record, 1, "c") == "c"
    with pytest.raises(RcasError, match="--fresh: d is no other label of RUN; allowed: a, c"):
        other_label(record, 1, "d")
    with pytest.raises(RcasError, match="replaced no class"):
        slot_of(Record(labels=("a",)))
