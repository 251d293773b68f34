"""The record beside a run's checkpoints: what is read from it, what it may hold, and which swap goes on."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcas_plugin import RcasError
from rcas_plugin.labels import DataClasses, resolve_labels
from rcas_plugin.record import RECORD, Record, read_record, swap_record, write_record
from rcas_plugin.same_swap import same_swap, settings_of
from rcas_plugin.settings import parse_settings

CLASSES = DataClasses(tuple("abcd"), (5, 5, 5, 5))


def recorded(section: dict[str, Any], labels: str = "abc") -> Record:
    """The record of a swap, as it is read from a file."""
    chosen = parse_settings(section)
    plan = resolve_labels(chosen, len(labels) + len(chosen.add), CLASSES, labels, num_before=len(labels))
    return Record.model_validate_json(json.dumps(swap_record(chosen, plan, "pre")))


def test_a_record_is_what_was_written(tmp_path: Path) -> None:
    assert read_record(tmp_path) == Record()
    write_record(tmp_path, {"labels": ["a"], "seconds_per_step": 2, "key_of_another_version": [1]})
    record = read_record(tmp_path)
    assert (record.labels, record.seconds_per_step, record.model_extra) == (("a",), 2.0, {"key_of_another_version": [1]})
    write_record(tmp_path, {"labels": ["b"]})
    assert json.loads((tmp_path / RECORD).read_text()) == {
        "labels": ["b"], "seconds_per_step": 2, "key_of_another_version": [1],
    }, "what a later record does not know stays"  # fmt: skip
    (tmp_path / RECORD).write_text("{")
    write_record(tmp_path, {"labels": ["c"]})
    assert json.loads((tmp_path / RECORD).read_text()) == {"labels": ["c"]}


def test_labels_that_have_no_images_any_more() -> None:
    record = recorded({"swap": {"b": "d"}, "remaining": ["a"]})
    assert (record.dropped, record.former) == ({"c"}, {"b"})
    assert recorded({"swap": {"b": "d"}}).dropped == frozenset()
    assert Record(labels=("a", "b")).dropped == frozenset()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "EOF"),
        (b"[1]", "object"),
        (b'{"labels": true}', "labels: "),
        (b'{"labels": [["a"], "b"]}', "labels.0: "),
        (b'{"labels": "abc"}', "labels: "),
        (b'{"labels": ["\\ud800"]}', "Invalid JSON"),
        (b'{"slots": {"x": "a"}}', "slots.x"),
        (b'{"remaining": [true]}', "remaining.0: "),
        (b'{"swap": []}', "swap: "),
        (b'{"source": 3}', "source: "),
        (b'{"seconds_per_step": ' + b"9" * 5000 + b"}", "number out of range"),
        (b'{"seconds_per_step": ' + b"9" * 400 + b"}", "seconds_per_step: "),
        (b'{"seconds_per_step": NaN}', "seconds_per_step: "),
        (b'{"x": ' + b"[" * 100_000 + b"}", "recursion limit"),
        (b'{"labels": ["\xff"]}', "Invalid JSON"),
    ],
)
def test_odd_content_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    """S3: a record of odd types, numbers of 5,000 digits, deep nesting or no UTF-8 names the file and the key."""
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(RcasError) as mistake:
        read_record(tmp_path)
    said = str(mistake.value)
    assert said.startswith(f"{tmp_path / RECORD} cannot be read (")
    assert sentence in said
    assert said.endswith("delete it, and name the classes in RCAS.labels")
    assert "\n" not in said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from([*Record.model_fields, "plain_parameters", "x"])


@given(content=JSON | st.dictionaries(KEYS, JSON, max_size=8), section=st.sampled_from(["class_swap", "bn_propagation"]))
@settings(max_examples=300)
def test_any_json_is_a_record_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: Any, section: str) -> None:
    """S3: no JSON gives a traceback out of `read_record`, `Record.swaps`, `same_swap` or `resolve_labels`."""
    folder = tmp_path_factory.getbasetemp()
    (folder / RECORD).write_text(json.dumps(content))
    asked = parse_settings({"method": section, "swap": {"b": "d"}})
    with contextlib.suppress(RcasError):
        record = read_record(folder)
        assert record.swap is None or record.swaps
        same_swap(record, asked)
        resolve_labels(asked, 3, CLASSES, record.labels, dropped=record.dropped, former=record.former)


def test_a_method_records_under_a_key_of_its_own(tmp_path: Path) -> None:
    """D7: a method that records `labels` or `swap` overwrites nothing of the run's."""
    from rcas_plugin.studiogan.active import ActiveRun
    from rcas_plugin.studiogan.run import SwapRun

    class Boasting:
        inherited = None

        def record(self) -> dict[str, Any]:
            return {"labels": ["mine"], "swap": None, "source": "elsewhere"}

    chosen = parse_settings({"swap": {"b": "d"}})
    plan = resolve_labels(chosen, 3, CLASSES, "abc")
    run: Any = ActiveRun(swap=SwapRun(chosen, plan, CLASSES, "swap", str(tmp_path), str(tmp_path)), lifecycle=Boasting())
    content = run.record()
    assert (content["labels"], content["source"]) == (["a", "d", "c"], str(tmp_path))
    assert content["swap"]["swap"] == {"b": "d"}
    assert content["method"] == {"labels": ["mine"], "swap": None, "source": "elsewhere"}


@pytest.mark.parametrize(
    "section",
    [
        {"swap": {"b": "d"}},
        {"swap": {1: "d"}},
        {"swap": {"b": "d"}, "labels": ["a", "b", "c"]},
        {"swap": {"b": "d"}, "snapshot_images": 3, "swap_metrics": 0, "accelerate": True, "tensorboard": True},
        {"swap": {"b": "d"}, "preset": "class_swap", "retain": 10.0},
    ],
)
def test_the_same_swap_in_other_words_goes_on(section: dict[str, Any]) -> None:
    """L4: by index or by name, watched in another way: the swap is the same."""
    assert same_swap(recorded({"swap": {"b": "d"}}), parse_settings(section))


def test_a_classifier_is_the_same_file_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    section = {"swap": {"b": "d"}, "method": "feature_replay", "classifier": str(tmp_path / "c.safetensors")}
    for named, same in (("c.safetensors", True), ("./c.safetensors", True), ("other.safetensors", False)):
        assert same_swap(recorded(section), parse_settings({**section, "classifier": named})) == same


@pytest.mark.parametrize(
    "section",
    [
        {"swap": {"a": "d"}},
        {"swap": {"b": "e"}},
        {"swap": {"b": "d", "a": "e"}},
        {"swap": {"b": "d"}, "method": "fine_tune"},
        {"swap": {"b": "d"}, "preset": "rcas"},
        {"swap": {"b": "d"}, "retain": 1.0},
        {"swap": {"b": "d"}, "remaining": ["a"]},
        {"swap": {"b": "d"}, "labels": ["a", "x", "c"]},
        {"swap": {"b": "d"}, "new_data": "."},
    ],
)
def test_another_swap_does_not_go_on(section: dict[str, Any]) -> None:
    """L4: another slot, class, method or value is another swap."""
    assert not same_swap(recorded({"swap": {"b": "d"}}), parse_settings(section))


def test_indices_and_names_that_look_alike_are_told_apart() -> None:
    """L4: a record's keys are text, and label 3 is not the class folder "3"."""
    classes = DataClasses(("0", "1", "2", "3", "new"), (5,) * 5)
    labels = ("1", "3", "2", "0")
    by_name = parse_settings({"swap": {"3": "new"}})
    record = Record.model_validate_json(json.dumps(swap_record(by_name, resolve_labels(by_name, 4, classes, labels), "pre")))
    assert record.slots == {1: "new"}
    assert same_swap(record, by_name)
    assert same_swap(record, parse_settings({"swap": {1: "new"}}))
    assert not same_swap(record, parse_settings({"swap": {3: "new"}}))


def test_a_recorded_section_of_an_earlier_version_has_todays_defaults() -> None:
    """L4: keys that are newer than the record are no difference, and what today's schema does not know is another swap."""
    record = recorded({"swap": {"b": "d"}})
    assert record.swap is not None
    older = {key: value for key, value in record.swap.items() if key not in ("balance", "stages", "swap_metrics")}
    asked = parse_settings({"swap": {"b": "d"}})
    assert same_swap(record.model_copy(update={"swap": older}), asked)
    assert not same_swap(record.model_copy(update={"swap": {**older, "unheard_of": 1}}), asked)


FORMER_RCAS = {"preset": "rcas", "selection": {"generator_ratio": 0.1, "discriminator_ratio": 0.1}}


def test_a_run_goes_on_with_the_values_that_its_preset_had() -> None:
    """`rcas` was 10 % of G and of D: a run that recorded it goes on so under the section that started it, again and again."""
    section = {"swap": {"b": "d"}, "preset": "rcas"}
    record = recorded({**section, **FORMER_RCAS})
    settings = settings_of(record, section)
    assert same_swap(record, settings)
    assert settings.model_dump()["selection"]["discriminator_ratio"] == 0.1
    assert settings.preset == "rcas"
    again = record.model_copy(update={"swap": settings.model_dump(mode="json")})
    assert settings_of(again, section) == settings


def test_a_preset_has_its_former_values_for_that_run_alone() -> None:
    section = {"swap": {"b": "d"}, "preset": "rcas"}
    today = parse_settings(section)
    assert settings_of(Record(), section) == today, "a swap of a pre-trained GAN"
    other = {**section, "swap": {"a": "d"}}
    assert settings_of(recorded({**section, **FORMER_RCAS}), other) == parse_settings(other), "another swap of that run's result"
    assert settings_of(recorded({**section, "preset": "rcas_10"}), section) == today, "another preset"
    assert settings_of(recorded(section), section) == today, "a run of today"


def test_a_run_that_knew_fewer_keys_goes_on_without_what_its_default_asks_for_today() -> None:
    """`share`, `batch_norm` and `average` came with a new default of class_swap: runs from before train as they did."""
    section = {"swap": {"b": "d"}}
    today = parse_settings(section)
    newer = ("share", "batch_norm", "average")
    assert [getattr(today, key) for key in newer] == [0.5, "running", 0.95]
    whole = today.model_dump(mode="json")
    earlier = recorded(section).model_copy(update={"swap": {key: value for key, value in whole.items() if key not in newer}})
    settings = settings_of(earlier, section)
    assert [getattr(settings, key) for key in newer] == [0, "batch", 0]
    assert same_swap(earlier, settings)
    assert not same_swap(earlier, today)
    assert settings_of(recorded(section), section) == today, "a run of today"


#: The section that version 0.1.0 (bc14607) recorded: every key of every method.
EVERY_KEY: dict[str, Any] = {
    "preset": None, "swap": {"b": "d"}, "add": [], "classes": None, "remaining": "all", "labels": None, "new_data": None,
    "balance": True,
    "importance": {"samples": 2048, "estimator": "per_sample", "objective": "adv_output", "stable": 1.0, "memory_mb": 512},
    "selection": {"generator_ratio": 0.0, "discriminator_ratio": 0.0, "scope": "layer", "threshold": 10.0, "unit": "element",
                  "against": "nothing", "damping": 1.0, "exponent": 1.0, "cap": 1.0, "conv": True, "conv_transpose": True,
                  "linear": True, "embedding": True},
    "reinit": "zero",
    "label_start": {"how": "match", "iterations": None, "batch_size": 32, "lr": 0.05, "images": 512},
    "bn_batches": 60, "label_lr": {"generator": 1.0, "discriminator": 1.0, "steps": 400}, "stages": {"bn": None, "ft": None},
    "propagation": {"l1": 0.01, "l2": 0.01}, "retain": 10.0, "accelerate": False, "snapshot_images": 16, "swap_metrics": 250,
    "tensorboard": False,
}  # fmt: skip
AT_BC14607: dict[str, dict[str, Any]] = {
    "class_swap": {"method": "class_swap", **EVERY_KEY, "bn_batches": 0},
    "bn_propagation": {"method": "bn_propagation", **EVERY_KEY},
    "fine_tune": {"method": "fine_tune", **EVERY_KEY, "retain": 0.0, "label_start": {**EVERY_KEY["label_start"], "how": "keep"}},
}
#: Keys of other methods, which did nothing.
OTHERS: dict[str, dict[str, Any]] = {
    "class_swap": {"stages": {"bn": 3, "ft": None}, "propagation": {"l1": 1.0, "l2": 0.0}},
    "bn_propagation": {"reinit": "init", "bn_batches": 7, "importance": {"samples": 1}, "preset": "class_swap"},
    "fine_tune": {"label_start": {"how": "mean"}, "selection": {"cap": 0.5}, "stages": {"bn": 3}, "preset": "rcas"},
}


@pytest.mark.parametrize("method", [*AT_BC14607])
def test_a_record_of_version_0_1_0_goes_on(method: str) -> None:
    """D3, D4: keys of other methods that it holds are no difference, and what its method does is one."""
    record = recorded({"method": method, "swap": {"b": "d"}})
    section = {"method": method, "swap": {"b": "d"}}
    for more in ({}, OTHERS[method], {"swap_metrics": 3, "tensorboard": True}):
        at_that_time = record.model_copy(update={"swap": {**AT_BC14607[method], **more}})
        assert same_swap(at_that_time, settings_of(at_that_time, section)), more
    for changed in ({"retain": 1.0}, {"label_lr": {"generator": 2.0}}, {"balance": False}, {"method": "zap"}):
        at_that_time = record.model_copy(update={"swap": {**AT_BC14607[method], **changed}})
        assert not same_swap(at_that_time, settings_of(at_that_time, section)), changed
