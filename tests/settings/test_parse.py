"""The RCAS section: defaults, and one sentence for each mistake."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rcas_plugin import RcasError
from rcas_plugin.registry import methods
from rcas_plugin.settings import CommonSettings, parse_settings


def test_plain_rcas_is_a_preset() -> None:
    settings = parse_settings({"preset": "rcas", "swap": {9: 0}})
    spelled_out = parse_settings({
        "preset": "rcas", "method": "class_swap", "swap": {9: 0}, "remaining": "all",
        "importance": {"samples": 2048, "estimator": "per_sample", "objective": "adv_output"},
        "selection": {"generator_ratio": 0.2, "discriminator_ratio": 0.005, "scope": "layer", "against": "nothing"},
        "reinit": "zero",
        "label_start": {"how": "keep"}, "label_lr": {"generator": 1.0, "discriminator": 1.0}, "bn_batches": 60,
    })  # fmt: skip
    assert settings == spelled_out
    assert settings.selection.kinds == {"conv", "conv_transpose", "linear", "embedding"}
    with pytest.raises(ValidationError):
        settings.method = "fine_tune"  # type: ignore[misc]


def test_a_preset_gives_way_to_what_the_section_says() -> None:
    plain = parse_settings({"swap": {9: 0}})
    assert plain.label_start.how == "match"
    assert plain.retain > 0
    own = parse_settings({"swap": {9: 0}, "label_start": {"iterations": 7}, "retain": 0.0})
    assert (own.label_start.how, own.label_start.iterations, own.retain) == ("match", 7, 0)
    rcas = parse_settings({"preset": "rcas", "swap": {9: 0}, "selection": {"generator_ratio": 0.3}})
    assert (rcas.selection.generator_ratio, rcas.selection.discriminator_ratio) == (0.3, 0.005)


def test_rcas_10_takes_a_tenth_of_both() -> None:
    tenth, plain = (parse_settings({"preset": preset, "swap": {9: 0}}).model_dump() for preset in ("rcas_10", "rcas"))
    assert (tenth["selection"].pop("generator_ratio"), tenth["selection"].pop("discriminator_ratio")) == (0.1, 0.1)
    assert (plain["selection"].pop("generator_ratio"), plain["selection"].pop("discriminator_ratio")) == (0.2, 0.005)
    assert {**tenth, "preset": "rcas"} == plain, "and differs in nothing else"


def test_fine_tune_is_plain() -> None:
    settings = parse_settings({"method": "fine_tune", "swap": {9: 0}})
    assert (settings.label_lr.generator, settings.label_lr.discriminator) == (1, 1)
    assert settings.retain == 0
    assert set(type(settings).model_fields) == set(CommonSettings.model_fields)


#: (keys beside a swap, the key that is named, part of what is allowed)
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"foo": 1}, "RCAS.foo", "method, preset, swap, add, classes, remaining"),
    ({"selection": {"foo": 3}}, "RCAS.selection.foo", "generator_ratio, discriminator_ratio, scope"),
    ({"selection": {"generator_ratio": 1.5}}, "RCAS.selection.generator_ratio", "0 to 1"),
    ({"selection": {"discriminator_ratio": -0.1}}, "RCAS.selection.discriminator_ratio", "0 to 1"),
    ({"selection": {"discriminator_ratio": "half"}}, "RCAS.selection.discriminator_ratio", "0 to 1"),
    ({"selection": {"scope": "block"}}, "RCAS.selection.scope", "layer, global"),
    ({"selection": {"against": "all"}}, "RCAS.selection.against", "nothing, ratio, difference, damping"),
    ({"selection": {"unit": "block"}}, "RCAS.selection.unit", "element, kernel, filter"),
    ({"selection": {"blocks": {"generator": []}}}, "RCAS.selection.blocks.generator", "all, or blocks"),
    ({"selection": {"blocks": {"generator": [-1]}}}, "RCAS.selection.blocks.generator", "rest, or BLOCK/LAYER"),
    ({"selection": {"blocks": {"discriminator": ["conv2d1"]}}}, "RCAS.selection.blocks.discriminator", "rest, or BLOCK/LAYER"),
    ({"selection": {"blocks": {"discriminator": 1}}}, "RCAS.selection.blocks.discriminator", "all, or a list of D's blocks"),
    ({"preset": "best"}, "RCAS.preset", "class_swap, rcas, rcas_10"),
    ({"label_lr": {"generator": 0.5}}, "RCAS.label_lr.generator", "a number of at least 1"),
    ({"label_start": {"how": "nearest"}}, "RCAS.label_start.how", "keep, mean, match"),
    ({"label_start": {"iterations": 0}}, "RCAS.label_start.iterations", "a whole number over 0"),
    ({"method": "bn_propagation", "stages": {"bn": -1}}, "RCAS.stages.bn", "a whole number of at least 0"),
    ({"label_start": {"lr": 0.0}}, "RCAS.label_start.lr", "a number over 0"),
    ({"label_start": 3}, "RCAS.label_start", "a section of keys"),
    ({"reinit": "damp"}, "RCAS.reinit", "zero, init"),
    ({"importance": {"estimator": "ewc"}}, "RCAS.importance.estimator", "per_sample, fisher, batch, output_norm"),
    ({"selection": {"conv": "yes"}}, "RCAS.selection.conv", "true or false"),
    ({"importance": {"samples": 0}}, "RCAS.importance.samples", "a whole number over 0"),
    ({"importance": {"objective": "loss"}}, "RCAS.importance.objective", "adv_output"),
    ({"swap": {}}, "RCAS.swap", "label slot -> the new class"),
    ({"swap": {9: 1.5}}, "RCAS.swap", "label slot -> the new class"),
    ({"swap": [9, 0]}, "RCAS.swap", "label slot -> the new class"),
    ({"remaining": []}, "RCAS.remaining", "at least one label"),
    ({"remaining": "some"}, "RCAS.remaining", "labels that stay alive"),
    ({"method": "zap"}, "RCAS.method", "class_swap, feature_replay, fine_tune"),
    ({"reinit": "random"}, "RCAS.reinit", "zero"),
    ({"retain": -1}, "RCAS.retain", "at least 0"),
    ({"new_data": "/no/such/folder"}, "RCAS.new_data", "folder"),
]


@pytest.mark.parametrize(("wrong", "key", "allowed"), WRONG)
def test_a_mistake_is_one_sentence_that_names_the_key_and_what_is_allowed(wrong: dict[str, Any], key: str, allowed: str) -> None:
    with pytest.raises(RcasError) as mistake:
        parse_settings({"swap": {9: 0}, **wrong})
    sentence = str(mistake.value)
    assert sentence.startswith(key)
    assert allowed in sentence
    assert "\n" not in sentence


def test_a_missing_swap_is_named() -> None:
    with pytest.raises(RcasError, match=r"^RCAS.swap: this key is missing"):
        parse_settings({})


KEYS = st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=3,
)


SECTIONS = [
    "swap",
    "remaining",
    "labels",
    "selection",
    "importance",
    "preset",
    "method",
    "reinit",
    "label_start",
    "label_lr",
    "x",
]


@given(st.dictionaries(st.sampled_from(SECTIONS), VALUES))
def test_any_section_is_settings_or_a_sentence(section: dict[str, Any]) -> None:
    try:
        parse_settings(section)
    except RcasError as error:
        sentence = str(error)
    else:
        return
    assert sentence.startswith("RCAS.")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"swap": {9: 0}, "add": ["x"]}, r"^RCAS.add: not with method class_swap, .* allowed with: bn_propagation"),
        ({"classes": ["x"]}, r"^RCAS.classes: not with method class_swap"),
        ({"method": "bn_propagation", "classes": ["x"], "swap": {9: 0}}, r"^RCAS.classes: it names every label"),
        ({"method": "bn_propagation", "classes": ["x", "x"]}, r"^RCAS.classes: a class is named twice"),
        ({"method": "bn_propagation", "add": []}, r"^RCAS.swap: this key is missing"),
    ],
)
def test_other_labels_are_for_methods_that_can(section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RcasError, match=sentence):
        parse_settings(section)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"method": "fine_tune", "stages": {"bn": 1}}, r"RCAS\.stages: this key belongs to method bn_propagation; .* fine_tune"),
        ({"stages": {}}, r"RCAS\.stages: this key belongs to method bn_propagation; .* class_swap: method, preset"),
        ({"method": "bn_propagation", "bn_batches": 60}, r"RCAS\.bn_batches: this key belongs to method class_swap; "),
        ({"method": "bn_propagation", "selection": {}}, r"RCAS\.selection: this key belongs to method class_swap; "),
        (
            {"method": "fine_tune", "label_start": {"how": "match"}},
            r"RCAS\.label_start: this key belongs to methods bn_propagation and class_swap; allowed with fine_tune: ",
        ),
        ({"method": "bn_propagation", "preset": "rcas"},
         r"RCAS\.preset: 'rcas' belongs to method class_swap; allowed with bn_propagation: bn_propagation$"),
        ({"method": "fine_tune", "preset": "rcas"},
         r"RCAS\.preset: 'rcas' belongs to method class_swap; allowed with fine_tune: none, leave it out$"),
        ({"method": "fine_tune", "preset": "best"}, r"RCAS\.preset: 'best' is unknown; allowed with fine_tune: none"),
    ],
)  # fmt: skip
def test_a_key_or_preset_of_another_method_is_refused_by_name(section: dict[str, Any], sentence: str) -> None:
    """D4: what would do nothing is not taken."""
    with pytest.raises(RcasError, match="^" + sentence):
        parse_settings({"swap": {9: 0}, **section})


@pytest.mark.parametrize("name", sorted(methods))
def test_every_preset_is_a_section_of_its_method(name: str) -> None:
    for preset in [None, *methods[name].presets]:
        assert isinstance(parse_settings({"method": name, "preset": preset, "swap": {9: 0}}), methods[name].Settings)


@pytest.mark.parametrize("name", ["class_swap", "bn_propagation", "fine_tune"])
def test_every_key_that_did_something_is_there(name: str) -> None:
    """The section of version 0.1.0: what each method read of it, at its defaults."""
    label_start = {"how": "match", "iterations": None, "batch_size": 32, "lr": 0.05, "images": 512}
    own: dict[str, dict[str, Any]] = {
        "class_swap": {
            "importance": {"samples": 2048, "estimator": "per_sample", "objective": "adv_output", "stable": 1.0,
                           "memory_mb": 512},
            "selection": {"generator_ratio": 0.0, "discriminator_ratio": 0.0, "scope": "layer", "threshold": 10.0,
                          "unit": "element", "against": "nothing", "damping": 1.0, "exponent": 1.0, "cap": 1.0, "conv": True,
                          "conv_transpose": True, "linear": True, "embedding": True,
                          "blocks": {"generator": "all", "discriminator": "all"}},
            "reinit": "zero", "label_start": label_start, "bn_batches": 0, "retain": 10.0, "share": 0.5, "batch_norm": "running",
            "average": 0.95,
        },
        "bn_propagation": {"label_start": label_start, "stages": {"bn": None, "ft": None},
                           "propagation": {"l1": 0.01, "l2": 0.01}, "retain": 10.0},
        "fine_tune": {"retain": 0.0},
    }  # fmt: skip
    common = {"method": name, "preset": None, "swap": {9: 0}, "add": [], "classes": None, "remaining": "all", "labels": None,
              "new_data": None, "balance": True, "label_lr": {"generator": 1.0, "discriminator": 1.0, "steps": 400},
              "accelerate": False, "snapshot_images": 16, "swap_metrics": 250, "tensorboard": False,
              "share": 0.0, "second_judge": False, "average": 0.0, "stop": {"patience": 0}, "remaining_data": "real"}  # fmt: skip
    assert parse_settings({"method": name, "swap": {9: 0}}).model_dump() == {**common, **own[name]}
