"""The `rcas` command: doctor, install, uninstall."""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from rcas_plugin.errors import RcasError
from rcas_plugin.settings import reference
from rcas_plugin.studiogan.locate import PINNED_COMMIT, commit_of, find_studiogan
from rcas_plugin.studiogan.patching import install, is_installed, is_pinned, uninstall


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rcas`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="rcas",
        description="Class-swap learning for PyTorch-StudioGAN: a new class in the label slot of an obsolete one.",
        epilog="Swap a class:  python STUDIOGAN/src/main.py --plugin rcas -t -cfg swap.yaml -ckpt DIR -data DIR -save OUT",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    texts = {
        "doctor": "print what was found (StudioGAN, patch, torch, device, seams) and what to do",
        "install": "give StudioGAN's main.py its --plugin flag (adds lines to that one file)",
        "uninstall": "take the flag out again, byte for byte",
        "config": "print every key of the RCAS section with its default",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        if name != "config":
            command.add_argument("--studiogan", type=Path, default=None, metavar="PATH",
                                 help="a StudioGAN elsewhere, as STUDIOGAN_ROOT does; by default the submodule")  # fmt: skip
    args = parser.parse_args(arguments)
    try:
        if args.command == "doctor":
            return doctor(args.studiogan)
        if args.command == "config":
            for key, default, text in reference():
                print(f"{key:36} {default:12} {text}")
            return 0
        root = find_studiogan(args.studiogan)
        changed = (install if args.command == "install" else uninstall)(root)
        done = {"install": "main.py has its --plugin flag", "uninstall": "main.py is as upstream ships it"}[args.command]
        print(f"{root}: {done}{'' if changed else ' already'}")
    except (RcasError, OSError) as error:  # OSError: a StudioGAN that may not be written to
        print(f"rcas: error: {error}", file=sys.stderr)
        return 2
    return 0


def doctor(given: Path | None) -> int:
    """Print what was found and what to do; 0 where a swap can run."""
    print(f"rcas-plugin   {importlib.metadata.version('rcas-plugin')}")
    print(f"torch         {torch.__version__}")
    print(f"device        {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU (no GPU found)'}")
    try:
        root = find_studiogan(given)
    except RcasError as error:
        print(f"StudioGAN     not found\n\nTo do: {error}")
        return 2
    commit = commit_of(root)
    note = "the pinned one" if commit == PINNED_COMMIT else f"the plugin is tested with {PINNED_COMMIT[:8]}"
    print(f"StudioGAN     {root}")
    print(f"commit        {commit[:8] if commit else 'unknown'} ({note})")
    pinned = is_pinned((root / "src" / "main.py").read_bytes())
    patch = "installed" if is_installed(root) else "not installed" if pinned else "not for this main.py"
    print(f"patch         {patch}")
    # the seams are looked at in a process of their own: activation changes torch for good on a machine without a GPU
    looked = subprocess.run([sys.executable, "-m", "rcas_plugin.studiogan.inspect", str(root / "src")], check=False)
    print()
    if patch != "installed":
        main_py = root / "src" / "main.py"
        print("To do: rcas install" if pinned else f"Run it unpatched: python -m rcas_plugin.studiogan {main_py} --plugin rcas …")
    elif not looked.returncode:
        print("Nothing to do: python .../src/main.py --plugin rcas …")
    return looked.returncode


if __name__ == "__main__":
    raise SystemExit(main())
