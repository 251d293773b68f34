"""A stage is done once, an interrupted one again; and an output folder keeps to the plan it was begun with."""

from __future__ import annotations

from pathlib import Path

import pytest

from rcas_plugin.errors import RcasError
from rcas_plugin.lifelong.plan import ClassifierKeys, GanKeys, Plan
from rcas_plugin.lifelong.stages import Stage, check_begun, count_done, write_begun

PLAN = Plan(data="data", tasks=[["a"], ["b"]], gan=GanKeys(cfg="gan.yaml"))


def test_a_stage_that_is_interrupted_is_not_done_and_its_time_counts(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "gan-1")
    with pytest.raises(KeyboardInterrupt), stage.at_work():
        raise KeyboardInterrupt
    again = Stage(tmp_path / "gan-1")
    assert not again.done
    assert again.seconds > 0
    with again.at_work() as folder:
        (folder / "made").write_text("whole")
    done = Stage(tmp_path / "gan-1")
    assert done.done
    assert done.seconds > stage.seconds


def test_stages_that_are_done_are_counted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Stage(tmp_path / "seed-0" / "gan-0").at_work():
        raise KeyboardInterrupt
    with Stage(tmp_path / "seed-0" / "classifier-0").at_work():
        pass
    assert count_done(tmp_path) == 1


COUNTS, CONFIG = {part: {"a": 3, "b": 3} for part in ("train", "valid")}, {"DATA": {"img_size": 32}}


def test_a_plan_may_grow_in_seeds_and_strategies_alone(tmp_path: Path) -> None:
    check_begun(tmp_path, PLAN, CONFIG, COUNTS)
    assert not [*tmp_path.iterdir()], "it is only looked at"
    write_begun(tmp_path, PLAN, CONFIG, COUNTS)
    (tmp_path / "seed-0" / "gan-0").mkdir(parents=True)
    more = PLAN.model_copy(update={"seeds": 5, "strategies": ["joint"], "data": "elsewhere"})
    check_begun(tmp_path, more, CONFIG, COUNTS)
    changed = PLAN.model_copy(update={"classifier": ClassifierKeys(lr=0.5)})
    with pytest.raises(RcasError, match=r"^classifier.lr: it is 0.5, and .* was begun with 0.0001; set it back, or give another"):
        check_begun(tmp_path, changed, CONFIG, COUNTS)
    with pytest.raises(RcasError, match=r"^config.DATA.img_size: it is 16, and .* was begun with 32"):
        check_begun(tmp_path, PLAN, {"DATA": {"img_size": 16}}, COUNTS)
    with pytest.raises(RcasError, match=r"^images.b: it is 4, and .* was begun with 3"):
        check_begun(tmp_path, PLAN, CONFIG, {**COUNTS, "train": {**COUNTS["train"], "b": 4}})


def test_what_no_stage_was_made_of_may_change(tmp_path: Path) -> None:
    write_begun(tmp_path, PLAN, None, COUNTS)
    keys = GanKeys(cfg="gan.yaml", steps=5, rcas={"replay": {"retain": 1.0}})
    asked = PLAN.model_copy(update={"gan": keys})
    check_begun(tmp_path, asked, CONFIG, COUNTS)
    (tmp_path / "seed-0" / "gan-0").mkdir(parents=True)
    with pytest.raises(RcasError, match=r"^config.DATA.img_size: it is 32, and .* was begun with None"):
        check_begun(tmp_path, PLAN, CONFIG, COUNTS)
    write_begun(tmp_path, asked, CONFIG, COUNTS)
    other = PLAN.model_copy(update={"gan": keys.model_copy(update={"rcas": {"replay": {"retain": 2.0}, "gan_memory": {}}})})
    check_begun(tmp_path, other, CONFIG, COUNTS)
    (tmp_path / "seed-1" / "replay" / "classifier-1").mkdir(parents=True)
    with pytest.raises(RcasError, match=r"^gan.rcas.replay.retain: it is 2.0, and .* was begun with 1.0"):
        check_begun(tmp_path, other, CONFIG, COUNTS)
    with pytest.raises(RcasError, match=r"^gan.steps: it is None, and .* was begun with 5"):
        check_begun(tmp_path, PLAN, CONFIG, COUNTS)
