"""Write the keys of the RCAS section and of plans, and the commands with their options, into docs/reference.md."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from rcas_plugin.cli import build_parser
from rcas_plugin.files import atomic_path
from rcas_plugin.lifelong.plan import Plan
from rcas_plugin.registry import methods
from rcas_plugin.settings.reference import Row, common_rows, in_order, own_rows, presets_of, rows_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"


def updated(text: str) -> str:
    """Return the page with each part between its two marks (`<!-- commands -->`, `<!-- /commands -->`) as the code has it."""
    parts = {
        "common keys": key_table(common_rows()),
        "keys of the methods": "\n".join(keys_of_methods()),
        "keys of a plan": key_table(rows_of(Plan)),
        "commands": "\n".join(commands(build_parser())),
    }
    for name, content in parts.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        assert start, f"{PAGE} lacks the mark {name}"
        assert end, f"{PAGE} lacks the mark /{name}"
        text = f"{before}{start}\n{content}\n{end}{after}"
    return text


def keys_of_methods() -> list[str]:
    """Return a part for each of the project's own methods: the keys that it has beside the common ones, and its presets."""
    parts = []
    for name in in_order():
        if methods[name].__module__.startswith("rcas_plugin."):  # and none of a package that happens to be installed
            own = own_rows(name)
            parts += [f"### {name}\n", key_table(own) if own else "It has no keys of its own.\n", *_presets(name)]
    return parts


def key_table(rows: Iterable[Row]) -> str:
    """Return a table of keys."""
    return table(("key", "default", "what it is"), ((f"`{row.key}`", row.default, row.help) for row in rows))


def _presets(method: str) -> list[str]:
    presets = presets_of(method)
    rows = ((f"`{name}`{', the default' if name == method else ''}", ", ".join(f"`{key}` {value}" for key, value in values))
            for name, values in presets.items())  # fmt: skip
    return [table(("preset", "what it sets"), rows)] if presets else []


def commands(parser: argparse.ArgumentParser) -> list[str]:
    """Return a part for each command: what it does, and a table of its options.

    Made from the options themselves: the text of `--help` differs between versions of Python and widths of terminals.
    """
    (choices,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [part for name, command in choices.items() for part in (f"### {parser.prog} {name}\n", *_command(command))]


def _command(command: argparse.ArgumentParser) -> list[str]:
    about = (command.description or "").rstrip(".")
    inner = [action.choices for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    commands_of = [(name, action) for choices in inner for name, action in choices.items()]
    parts = [part for name, action in commands_of for part in (f"#### {command.prog} {name}\n", *_command(action))]
    shown = [action for action in command._actions
             if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)]  # fmt: skip
    options = [table(("option", "what it is"), map(_option, shown))] if shown else []
    return [f"{_plain(about[:1].upper() + about[1:])}.\n", *options, *parts]


def _option(action: argparse.Action) -> tuple[str, str]:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    value = {"+": f"{value} …", "?": f"[{value}]"}.get(str(action.nargs), value)
    name = " ".join(filter(None, [", ".join(action.option_strings), value]))
    said = [action.help or ""]
    if action.choices:
        said.append(f"one of {', '.join(map(str, action.choices))}")
    if action.default is not None and action.default is not False and "default" not in said[0]:
        said.append(f"default: {action.default}")
    if action.required and action.option_strings:
        said.append("required")
    return f"`{name}`", "; ".join(said)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table; what Markdown would read as its own is escaped."""
    lines = [head, ("---",) * len(head), *(tuple(map(_plain, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _plain(text: str) -> str:
    """Return the text with bars and tags escaped, but for code."""
    return "".join(
        part if part.startswith("`") else part.replace("|", "\\|").replace("<", "&lt;")
        for part in re.split(r"(`[^`]*`)", text)
    )  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    page = updated(PAGE.read_text(encoding="utf-8"))
    with atomic_path(PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
