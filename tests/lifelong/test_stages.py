"""A stage is done once, an interrupted one again; and an output folder keeps to the plan it was begun with."""

from __future__ import annotations

from pathlib import Path

import pytest

from rcas_plugin.errors import RcasError
from rcas_plugin.lifelong.plan import ClassifierKeys, GanKeys, Plan
from rcas_plugin.lifelong.stages import Stage, check_begun

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


def test_a_plan_may_grow_in_seeds_and_strategies_alone(tmp_path: Path) -> None:
    counts = {"a": 3, "b": 3}
    check_begun(tmp_path, PLAN, {"DATA": {"img_size": 32}}, counts)
    more = PLAN.model_copy(update={"seeds": 5, "strategies": ["joint"], "data": "elsewhere"})
    check_begun(tmp_path, more, {"DATA": {"img_size": 32}}, counts)
    changed = PLAN.model_copy(update={"classifier": ClassifierKeys(lr=0.5)})
    with pytest.raises(RcasError, match=r"^classifier.lr: it is 0.5, and .* was begun with 0.0001; set it back, or give another"):
        check_begun(tmp_path, changed, {"DATA": {"img_size": 32}}, counts)
    with pytest.raises(RcasError, match=r"^config.DATA.img_size: it is 16, and .* was begun with 32"):
        check_begun(tmp_path, PLAN, {"DATA": {"img_size": 16}}, counts)
    with pytest.raises(RcasError, match=r"^images.b: it is 4, and .* was begun with 3"):
        check_begun(tmp_path, PLAN, {"DATA": {"img_size": 32}}, {**counts, "b": 4})
