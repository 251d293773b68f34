"""The configs that are shipped."""

from __future__ import annotations

from pathlib import Path

import yaml

from rcas_plugin.lifelong.command import check_strategies, read_gan_config
from rcas_plugin.lifelong.plan import read_plan
from rcas_plugin.sampling.build import is_trained_embedded
from rcas_plugin.settings import parse_settings

CONFIGS = Path(__file__).parents[1] / "configs"
PLANS = CONFIGS / "classify"


def test_the_configs_that_are_shipped_are_valid() -> None:
    sections = [yaml.safe_load(path.read_text())["RCAS"] for path in CONFIGS.rglob("*.yaml")
                if path.stem != "pretrain" and path.parent != PLANS]  # fmt: skip
    assert len(sections) >= 4
    for section in sections:
        parse_settings(section)


def test_the_plans_that_are_shipped_are_valid_and_their_gans_are_of_their_first_tasks() -> None:
    plans = [path for path in PLANS.glob("*.yaml") if not path.stem.endswith("_gan")]
    assert len(plans) == 4
    for path in plans:
        plan = read_plan(path)
        check_strategies(plan)
        config = read_gan_config(plan, Path(str(plan.gan.cfg)))
        assert is_trained_embedded(config) == (path.stem != "cifar100_50_5x10"), "small plans need no StudioGAN"
        assert config["DATA"]["num_classes"] == len(plan.tasks[0])
