"""Write docs/reference.md: every key of the RCAS section and every command with its options, as the code has them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from rcas_plugin.cli import build_parser
from rcas_plugin.files import atomic_path
from rcas_plugin.settings import reference

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
START = """# Reference

Every key of the `RCAS` section, and every command with its options. Back to the [README](../README.md)

This page is made from the code by `python scripts/reference.py`; a test fails where the two differ. What the methods do is in
[Methods](methods.md), how they are used in the [Guide](guide.md).
"""
KEYS = """## Keys

The section stands in a StudioGAN config, beside `DATA`, `MODEL` and the others. `rcas config` prints this table. Defaults are
those of `method: class_swap`; `preset: rcas` has the values of class-swap learning as published.
"""
COMMANDS = """## Commands

Each has `--help`. A mistake is one sentence and the exit code 2.
"""
MAIN = """## main.py and its surroundings

All of StudioGAN's options are as they were. The plugin adds:
"""
MAIN_OPTIONS = (
    ("`--plugin rcas`", "run under the plugin; `rcas install` gives main.py the flag"),
    ("`--eval_backbone domain`, `file:PATH`, `code:PATH`", "metrics without a download: [Evaluation](guide/evaluation.md)"),
    ("`STUDIOGAN_ROOT`", "the StudioGAN that `rcas` uses, where `--studiogan` is not given"),
    ("`RCAS_CPU_PROCESSES`", "processes of a `-DDP` run on a CPU: [Processes and speed](guide/processes.md)"),
    ("`WANDB_MODE`, `WANDB_API_KEY`, `WANDB_BASE_URL`", "wandb stays offline unless one of them, or a login, says otherwise"),
)


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        [START, *keys(), COMMANDS, *commands(build_parser()), MAIN, table(("option or variable", "what it is"), MAIN_OPTIONS)]
    )


def keys() -> list[str]:
    """Return the part about the section's keys."""
    rows = ((f"`{key}`", default, text) for key, default, text in reference())
    return [KEYS, table(("key", "default", "what it is"), rows)]


def commands(parser: argparse.ArgumentParser) -> list[str]:
    """Return a part for each command: what it does, and a table of its options.

    Made from the options themselves: the text of `--help` differs between versions of Python and widths of terminals.
    """
    (choices,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [part for name, command in choices.items() for part in (f"### {parser.prog} {name}\n", *_command(command))]


def _command(command: argparse.ArgumentParser) -> list[str]:
    about = (command.description or "").rstrip(".")
    options = [_option(action) for action in command._actions if not isinstance(action, argparse._HelpAction)]
    return [f"{_plain(about[:1].upper() + about[1:])}.\n", *([table(("option", "what it is"), options)] if options else [])]


def _option(action: argparse.Action) -> tuple[str, str]:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    value += " …" if action.nargs == "+" else ""
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
    return text if text.startswith("`") else text.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="print the page, and write nothing")
    if parser.parse_args().print:
        print(page(), end="")
        return
    with atomic_path(PAGE) as temporary:
        temporary.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
