"""`rcas config`: the keys of the section, their defaults and presets, or a JSON schema."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable

from rcas_plugin.errors import RcasError
from rcas_plugin.registry import methods
from rcas_plugin.settings.common import DEFAULT_METHOD
from rcas_plugin.settings.reference import Row, common_rows, in_order, own_rows, presets_of, reference_of
from rcas_plugin.settings.schema import file_schema, section_schema


def add_config(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas config` its arguments."""
    command.add_argument("--method", default=None, metavar="NAME", help="the keys of this method alone, and its presets")
    schema = "print a JSON schema: of a whole config file (default), or of the RCAS section alone"
    command.add_argument("--schema", nargs="?", const="file", choices=("file", "section"), default=None, help=schema)
    command.set_defaults(run=config)


def config(args: argparse.Namespace) -> int:
    """Print the config reference, or its JSON schema; 0."""
    if args.method is not None and args.method not in methods:
        raise RcasError(f"--method: {args.method!r} is unknown; allowed: {methods.names()}")
    if args.schema is not None:
        print(json.dumps((file_schema if args.schema == "file" else section_schema)(args.method), indent=2))
        return 0
    if args.method is not None:
        _print_rows(reference_of(args.method))
        _print_presets(args.method)
        return 0
    print(f"# keys of every method; defaults of method: {DEFAULT_METHOD}")
    _print_rows(common_rows())
    for name in in_order():
        print(f"\n# method: {name}")
        _print_rows(own_rows(name))
        _print_presets(name)
    return 0


def _print_rows(rows: Iterable[Row]) -> None:
    for key, default, text in rows:
        print(f"{key:36} {default:12} {text}")


def _print_presets(method: str) -> None:
    for name, values in presets_of(method).items():
        print(f"# preset: {name}{' (its default)' if name == method else ''}: "
              + ", ".join(f"{key} {value}" for key, value in values))  # fmt: skip
