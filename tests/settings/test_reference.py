"""What `rcas config` prints of the keys."""

from __future__ import annotations

import pytest

from rcas_plugin import RcasError
from rcas_plugin.cli import main
from rcas_plugin.settings import own_rows, presets_of, reference, reference_of


def test_the_reference_has_every_key_with_help() -> None:
    rows = reference()
    assert ("RCAS.importance.samples", "2048") in [row[:2] for row in rows]
    assert all(help_text for _, _, help_text in rows)
    assert len({key for key, _, _ in rows}) == len(rows)
    of_methods = {row.key for name in ("class_swap", "bn_propagation", "fine_tune") for row in reference_of(name)}
    assert {row.key for row in rows} >= of_methods


def test_the_reference_of_a_method_has_its_defaults() -> None:
    fine_tune, propagation = ({row.key: row.default for row in reference_of(name)} for name in ("fine_tune", "bn_propagation"))
    assert (fine_tune["RCAS.method"], fine_tune["RCAS.retain"]) == ("fine_tune", "0.0")
    assert not {"RCAS.label_start.how", "RCAS.stages.bn", "RCAS.reinit"} & fine_tune.keys()
    assert (propagation["RCAS.label_start.how"], propagation["RCAS.retain"]) == ("match", "10.0")
    others = [("RCAS.share", "0.0"), ("RCAS.retain", "0.0"), ("RCAS.average", "0.0")]
    assert [row[:2] for row in own_rows("fine_tune")] == others, "other defaults than class_swap's"
    assert presets_of("bn_propagation") == {"bn_propagation": [("RCAS.label_start.how", "match"), ("RCAS.retain", "10.0")]}
    with pytest.raises(
        RcasError, match="there is no method 'zap'; there are: bn_propagation, class_swap, feature_replay, fine_tune"
    ):
        reference_of("zap")


def test_config_prints_the_keys_by_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    printed = capsys.readouterr().out
    common, *parts = printed.split("\n# method: ")
    of_method = {part.partition("\n")[0]: part for part in parts}
    assert list(of_method) == ["class_swap", "bn_propagation", "feature_replay", "fine_tune", "gan_memory", "piggyback"]
    assert "RCAS.swap " in common
    assert "RCAS.retain                          10.0 " in common
    assert "RCAS.stages.bn" in of_method["bn_propagation"]
    assert "RCAS.stages.bn" not in of_method["class_swap"]
    assert "RCAS.retain                          0.0 " in of_method["fine_tune"]
    assert all(row.key in printed for row in reference())


def test_config_of_a_method_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--schema"]):
        assert main(["config", "--method", "zap", *more]) == 2
        assert (
            "--method: 'zap' is unknown; allowed: bn_propagation, class_swap, feature_replay, fine_tune"
            in capsys.readouterr().err
        )
