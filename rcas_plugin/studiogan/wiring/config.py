"""The wrappers around upstream's config: the RCAS section, and all checks before anything is written."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from rcas_plugin.errors import RcasError
from rcas_plugin.files import is_plain_name
from rcas_plugin.registry import methods
from rcas_plugin.settings import parse_settings
from rcas_plugin.studiogan.active import RUN
from rcas_plugin.studiogan.backbones import (
    check_backbone,
    is_own,
)
from rcas_plugin.studiogan.look import check_data, check_img_size
from rcas_plugin.studiogan.options import check_options
from rcas_plugin.studiogan.run import check_plain_run, plan_run, take_best_alone
from rcas_plugin.studiogan.stop import stop_with_a_sentence


class _RawSection:
    """The RCAS section as upstream stores a section: attributes. Its keys are checked by `settings`, not here."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def _read_section(original: Any) -> Any:
    @functools.wraps(original)
    @stop_with_a_sentence
    def _overwrite_cfgs(self: Any, cfg_file: str) -> None:
        try:
            content = yaml.safe_load(Path(cfg_file).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise RcasError(f"-cfg: {cfg_file} cannot be read: {' '.join(str(error).split())}") from None
        if isinstance(content, dict) and content.get("RCAS", {}) is None:
            content["RCAS"] = {}
        if not isinstance(content, dict) or not all(isinstance(section, dict) for section in content.values()):
            raise RcasError(f"-cfg: {cfg_file} is no StudioGAN config; it holds sections (DATA:, MODEL:, …) of keys")
        self.rcas_config = {name: keys for name, keys in content.items() if name != "RCAS"}
        if "RCAS" in content:
            parse_settings(content["RCAS"])
            self.super_cfgs["RCAS"] = _RawSection()
        try:
            original(self, cfg_file)
        except (AttributeError, KeyError) as error:
            raise RcasError(f"-cfg: {cfg_file} has a key that StudioGAN does not know: {error}") from None

    return _overwrite_cfgs


def _check(original: Any) -> Any:
    @functools.wraps(original)
    @stop_with_a_sentence
    def check_compatability(self: Any) -> None:
        if self.RUN.train and (self.RUN.print_freq < 1 or self.RUN.save_freq % self.RUN.print_freq):
            raise RcasError(
                f"--save_freq {self.RUN.save_freq} is no multiple of --print_freq {self.RUN.print_freq}; choose one that is"
            )
        if not is_plain_name(self.DATA.name):  # StudioGAN names files and folders by it
            raise RcasError(
                f"DATA.name: {self.DATA.name!r} is not allowed; allowed: a name without / and \\, for files and folders"
            )
        backbone = self.RUN.eval_backbone
        check_backbone(backbone, self.DATA.img_size)
        if is_own(backbone):
            self.RUN.eval_backbone = "InceptionV3_tf"  # what upstream's own check knows
        try:
            original(self)
        except AssertionError as error:
            raise RcasError(" ".join(str(error).split()) or "StudioGAN refuses this combination of options") from None
        finally:
            self.RUN.eval_backbone = backbone
        check_options(self)
        check_img_size(self)
        self.rcas_run = None
        take_best_alone(self)
        section = self.super_cfgs.get("RCAS")
        if section is not None:
            self.rcas_run, RUN.checkpoint = plan_run(self, vars(section))
            _say_plan(self.rcas_run)
        else:
            check_plain_run(self)
        check_data(self, self.rcas_run)
        RUN.adopt(self)

    return check_compatability


def _say_plan(run: Any) -> None:
    plan = run.plan
    lines = []
    for label in range(plan.num_classes):
        if label in plan.slots:
            lines.append(f"  label {label}: {plan.names[label]}, new ({plan.counts[label]} images)")
        elif label in plan.remaining:
            lines.append(f"  label {label}: {plan.names[label]} ({_shown(run, label)})")
        else:
            lines.append(f"  label {label}: not used any more")
    what = {"swap": "starts from", "resume": "goes on in", "evaluate": "is evaluated in"}[run.mode]
    print(f"rcas: {run.settings.method} {what} {run.source}", *lines, sep="\n")
    for remark in plan.remarks:
        print(f"rcas: {remark}")


def _shown(run: Any, label: int) -> str:
    """What training shows of a remaining label."""
    if methods[run.settings.method].shown(run.settings) == "all":
        return f"{run.plan.counts[label]} images"
    if label in methods[run.settings.method].drawn(run.settings, run.plan):
        return "images of the pre-trained generator"
    return "not shown"


WRAPPERS = (
    ("config.Configurations._overwrite_cfgs", "section", _read_section),
    ("config.Configurations.check_compatability", "checks", _check),
)
