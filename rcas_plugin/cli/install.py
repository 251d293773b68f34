"""`rcas install` and `rcas uninstall`: main.py's --plugin flag."""

from __future__ import annotations

import argparse

from rcas_plugin.studiogan.locate import add_studiogan, find_studiogan
from rcas_plugin.studiogan.patching import install, uninstall


def add_install(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas install` its arguments."""
    add_studiogan(command)
    command.set_defaults(run=install_patch)


def add_uninstall(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas uninstall` its arguments."""
    add_studiogan(command)
    command.set_defaults(run=uninstall_patch)


def install_patch(args: argparse.Namespace) -> int:
    """Add the --plugin flag to main.py; returns exit code 0."""
    root = find_studiogan(args.studiogan)
    print(f"{root}: main.py has its --plugin flag{'' if install(root) else ' already'}")
    return 0


def uninstall_patch(args: argparse.Namespace) -> int:
    """Remove the --plugin flag from main.py; returns exit code 0."""
    root = find_studiogan(args.studiogan)
    print(f"{root}: main.py is as upstream ships it{'' if uninstall(root) else ' already'}")
    return 0
