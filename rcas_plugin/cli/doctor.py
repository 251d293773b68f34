"""`rcas doctor`: what is there, what is missing, and what to do."""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import torch

from rcas_plugin import third_parties
from rcas_plugin.doctor import diagnose
from rcas_plugin.errors import RcasError
from rcas_plugin.studiogan.locate import PINNED_COMMIT, add_studiogan, commit_of, find_studiogan
from rcas_plugin.studiogan.patching import is_installed, is_pinned


def add_doctor(command: argparse.ArgumentParser) -> None:
    """Give the parser of `rcas doctor` its arguments."""
    add_studiogan(command)
    command.set_defaults(run=doctor)
    add = command.add_argument
    add("--data", type=Path, default=None, metavar="DIR", help="look through a data set: sizes, depths, broken files, classes")
    add("--ckpt", type=Path, default=None, metavar="DIR",
        help="with --data: the checkpoint; which label is which, and the command")  # fmt: skip
    add("--cfg", type=Path, default=None, metavar="FILE", help="with --data: the config that trained it, where none is recorded")


def doctor(args: argparse.Namespace) -> int:
    """Print a diagnosis of the set-up, or of data, checkpoint and config; returns 0 where a swap can run."""
    if args.data is not None:
        diagnosis = diagnose(args.data, args.ckpt, args.cfg)
        print(diagnosis.text)
        return 2 if diagnosis.refused else 0
    if args.ckpt is not None or args.cfg is not None:
        raise RcasError("--data is missing; give the folder of the data set that the checkpoint is looked at with")
    print(f"rcas-plugin   {importlib.metadata.version('rcas-plugin')}")
    print(f"torch         {torch.__version__}")
    print(f"device        {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU (no GPU found)'}")
    for party in third_parties.load():
        print(f"methods       {party.name} of {party.package}: {f'BROKEN: {party.error}' if party.error else 'there'}")
    try:
        root = find_studiogan(args.studiogan)
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
    for sentence in third_parties.broken_sentences():
        print(f"To do: {sentence}")
    if patch != "installed":
        main_py = root / "src" / "main.py"
        print("To do: rcas install" if pinned else f"Run it unpatched: python -m rcas_plugin.studiogan {main_py} --plugin rcas …")
    elif not looked.returncode:
        print("Nothing to do: python .../src/main.py --plugin rcas …")
    return looked.returncode
