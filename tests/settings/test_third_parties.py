"""D5: a method of another package has keys and presets of its own, as those of the plugin have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import Field

from rcas_plugin import Context, RcasError
from rcas_plugin.cli import main
from rcas_plugin.labels import LabelPlan
from rcas_plugin.record import Record
from rcas_plugin.same_swap import same_swap
from rcas_plugin.settings import CommonSettings, Watching, own_rows, parse_settings, reference

from .conftest import Paint, PaintSettings

SECTION = {"method": "paint", "swap": {"b": "d"}}


def record_of(settings: CommonSettings) -> Record:
    """The record of a swap in label 1 of a, b, c, as it is read from a file."""
    content = {
        "labels": list("adc"), "labels_before": list("abc"), "slots": {"1": "d"}, "remaining": [0, 2],
        "swap": settings.model_dump(mode="json"),
    }  # fmt: skip
    return Record.model_validate_json(json.dumps(content))


@pytest.mark.usefixtures("paint")
def test_its_keys_and_presets() -> None:
    settings = parse_settings(SECTION)
    assert isinstance(settings, PaintSettings)
    assert (settings.retain, settings.brush.width, settings.colours) == (2, 4, 3), "the preset of its own name is its default"
    sketch = parse_settings({**SECTION, "preset": "sketch", "brush": {"width": 2.5}})
    assert isinstance(sketch, PaintSettings)
    assert (sketch.retain, sketch.brush.width, sketch.colours) == (0, 2.5, 1)


def test_the_method_gets_them(paint: type[Paint]) -> None:
    plan = LabelPlan(2, {0: 1}, {1: 1}, ("d", "c"), ("b", "c"))
    assert paint(Context(parse_settings({**SECTION, "colours": 5}), plan)).settings.colours == 5
    with pytest.raises(TypeError, match="Paint takes PaintSettings, not ClassSwapSettings"):
        paint(Context(parse_settings({"swap": {"b": "d"}}), plan))


@pytest.mark.usefixtures("paint")
@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({**SECTION, "colours": 0}, "RCAS.colours: 0 is not allowed; allowed: a whole number of at least 1"),
        ({**SECTION, "colours": 13}, "RCAS.colours: 13 brings bad luck; allowed: any other number"),
        ({**SECTION, "brush": {"width": 0}}, "RCAS.brush.width: 0 is not allowed; allowed: a number over 0"),
        ({**SECTION, "brush": {"hair": 1}}, "RCAS.brush.hair: this key is unknown; allowed: width, shown"),
        ({**SECTION, "add": ["x"]}, "RCAS.add: not with method paint, which re-uses label slots; allowed with: bn_propagation"),
        ({**SECTION, "stages": {}}, "RCAS.stages: this key belongs to method bn_propagation; allowed with paint: method, "),
        ({"swap": {9: 0}, "brush": {}}, "RCAS.brush: this key belongs to method paint; allowed with class_swap: method, "),
        ({"swap": {9: 0}, "preset": "sketch"}, "RCAS.preset: 'sketch' belongs to method paint; allowed with class_swap: "),
    ],
)  # fmt: skip
def test_mistakes_are_named_as_the_plugins_own(section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RcasError) as mistake:
        parse_settings(section)
    assert str(mistake.value).startswith(sentence)


@pytest.mark.usefixtures("paint")
def test_its_keys_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row.key: row for row in reference()}
    assert rows["RCAS.colours"] == ("RCAS.colours", "3", "how many colours")
    assert [row[:2] for row in own_rows("paint")] == [
        ("RCAS.share", "0.0"), ("RCAS.retain", "2.0"), ("RCAS.average", "0.0"), ("RCAS.colours", "3"),
        ("RCAS.brush.width", "4.0"), ("RCAS.brush.shown", "False"), ("RCAS.gallery", "0"),
    ]  # fmt: skip
    assert main(["config", "--method", "paint"]) == 0
    printed = capsys.readouterr().out
    assert "RCAS.brush.width                     4.0          of the brush" in printed
    assert "# preset: paint (its default): RCAS.retain 2.0, RCAS.brush.width 4.0\n# preset: sketch: RCAS.colours 1\n" in printed
    assert "RCAS.selection" not in printed


@pytest.mark.usefixtures("paint")
def test_its_watching_keys_are_no_other_swap() -> None:
    """D3: a run goes on although a key changed that only watches, in a section of keys as well."""
    record = record_of(parse_settings(SECTION))
    assert same_swap(record, parse_settings({**SECTION, "gallery": 4, "brush": {"shown": True}, "swap_metrics": 0}))
    assert not same_swap(record, parse_settings({**SECTION, "colours": 4}))
    assert not same_swap(record, parse_settings({**SECTION, "brush": {"width": 5.0}}))


def test_a_new_key_with_a_default_is_no_other_swap(paint: type[Paint], monkeypatch: pytest.MonkeyPatch) -> None:
    """D3: the run of an earlier version goes on, unless the new key asks for something else."""
    record = record_of(parse_settings(SECTION))

    class Later(PaintSettings):
        varnish: float = Field(0.0, ge=0, description="on top")
        seen: Watching[int] = Field(0, description="by how many")

    monkeypatch.setattr(paint, "Settings", Later)
    assert same_swap(record, parse_settings(SECTION))
    assert same_swap(record, parse_settings({**SECTION, "varnish": 0.0, "seen": 7}))
    assert not same_swap(record, parse_settings({**SECTION, "varnish": 0.5}))
