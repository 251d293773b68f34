"""`rcas classify`: a classifier learns one task after another, with generated images in the place of the earlier ones."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rcas_plugin.errors import RcasError
from rcas_plugin.files import remove_leftovers, write_json
from rcas_plugin.lifelong.alternation import Alternation
from rcas_plugin.lifelong.checks import check_gan, check_strategies
from rcas_plugin.lifelong.data import check_data, read_data
from rcas_plugin.lifelong.plan import Plan, read_plan
from rcas_plugin.lifelong.stages import check_begun, count_done, write_begun
from rcas_plugin.lifelong.strategies import STRATEGIES
from rcas_plugin.lifelong.summary import summary
from rcas_plugin.report.classify import HEADS, RESULTS, Classify, caption, rows, verdict, write_page
from rcas_plugin.studiogan.locate import add_studiogan
from rcas_plugin.watch.machine import describe_run


def add_classify(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas classify` its arguments."""
    command.description = (
        "train a classifier on one task of classes after another, with generated images in the place of the earlier tasks', and "
        "compare strategies between two bounds: the new images alone, and all real ones"
    )
    add = command.add_argument
    add("plan", type=Path, metavar="PLAN", help="YAML file: data, tasks, classifier, gan (docs/guide/classify.md)")
    add("-o", "--out", type=Path, required=True, metavar="OUT",
        help="classify.json, classify.html and every stage go there; the same command goes on there")  # fmt: skip
    add("--data", type=Path, default=None, metavar="DIR", help="train/<class>/ and valid/<class>/, in place of the plan's data")
    add("--seeds", type=int, default=None, metavar="N", help="in place of the plan's seeds")
    add("--strategies", nargs="+", default=None, metavar="NAME",
        help=f"in place of the plan's strategies; of: {', '.join(STRATEGIES)}")  # fmt: skip
    add_studiogan(command)
    command.set_defaults(run=classify)


def classify(args: argparse.Namespace) -> int:
    """Train what is not trained yet, print the table, write the page; returns exit code 0, or 130 after Ctrl-C."""
    options = {
        "data": None if args.data is None else str(args.data.resolve()),
        "seeds": args.seeds,
        "strategies": args.strategies,
    }
    plan = read_plan(args.plan, {key: value for key, value in options.items() if value is not None})
    counts = check_data(plan)
    config = None if plan.gan.cfg is None else read_gan_config(plan, Path(plan.gan.cfg))
    gan = None if config is None or not plan.replays else check_gan(plan, config, args.studiogan)
    check_strategies(plan, plan.gan.steps or (config or {}).get("OPTIMIZATION", {}).get("total_steps"), gan)
    del gan  # of StudioGAN's on a GPU the memory is needed
    check_begun(args.out, plan, config, counts)
    remove_leftovers(args.out)
    try:
        folders, images = read_data(plan, args.out / "tasks")
        write_begun(args.out, plan, config, counts)
        outcomes = Alternation(plan, config, folders, images, args.out, studiogan=args.studiogan).run()
    except KeyboardInterrupt:
        print(f"\nrcas: {count_done(args.out)} stages are kept in {args.out}; the same command goes on")
        return 130
    results = summary(plan, outcomes)
    write_json(args.out / RESULTS, {**describe_run(), **results.model_dump(mode="json")})
    print_results(results)
    print(f"\nrcas: written: {args.out / RESULTS}, {write_page(results, args.out)}")
    return 0


def read_gan_config(plan: Plan, path: Path) -> Mapping[str, Any]:
    """The content of the plan's `gan.cfg`.

    Raises:
        RcasError: it is no config, or its images are of another size than the plan's.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        size = config["DATA"]["img_size"]
        steps = config["OPTIMIZATION"]["total_steps"] if None in (plan.gan.first_steps, plan.gan.steps) else plan.gan.steps
        config = {section: {**keys} for section, keys in config.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise RcasError(
            f"gan.cfg: {path} is no StudioGAN config with DATA.img_size and OPTIMIZATION.total_steps; give one"
        ) from None
    if not isinstance(steps, int) or steps < 1:
        raise RcasError(f"gan.steps is missing, and OPTIMIZATION.total_steps of {path} is {steps!r}; give it a number")
    if size != plan.size:
        raise RcasError(f"size: it is {plan.size}, and {path} makes images of {size}; set it to {size}")
    return config


def print_results(results: Classify) -> None:
    """Print the verdict and the table."""
    lines = [list(HEADS), *rows(results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    print(f"\n{verdict(results)}\n")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print(f"\n{caption(results)}")
