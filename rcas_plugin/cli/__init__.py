"""The `rcas` command: its commands, each in a module that is imported once it is asked for.

So that help and a mistyped option do not wait for torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from rcas_plugin.errors import RcasError

#: command -> the function that gives its parser the arguments, as MODULE:FUNCTION, and what `rcas --help` says of it.
COMMANDS = {
    "swap": (
        "rcas_plugin.studiogan.swap_cli:add_swap",
        "swap a class: find the checkpoint's config, write the swap's, say what will be done, and run main.py",
    ),
    "report": (
        "rcas_plugin.cli.report:add_report",
        "make one page of swaps: is the new class there and good, is the old one gone, are the others intact, how long it took",
    ),
    "relearn": (
        "rcas_plugin.studiogan.relearn:add_relearn",
        "measure forgetting: the steps of fine-tuning that bring a swap's old class back, beside those on another label",
    ),
    "utility": ("rcas_plugin.utility.command:add_utility", "does it help? a classifier with and without its images"),
    "classify": ("rcas_plugin.lifelong.command:add_classify", "learn classes task by task, by generated replay"),
    "sample": (
        "rcas_plugin.sampling.command:add_sample",
        "write images of a run's classes, a folder a class; no data set and no GPU is needed",
    ),
    "export": (
        "rcas_plugin.sampling.command:add_export",
        "write a run's generator as ONNX, held against torch, or as safetensors with its config",
    ),
    "memory": (
        "rcas_plugin.memory.command:add_memory",
        "the tasks of a lineage of swaps: list them, use all by one generator, bring one out as a checkpoint",
    ),
    "widen": (
        "rcas_plugin.widen:add_widen",
        "write a checkpoint with more labels, which later swaps fill; the images of the labels that there are stay the same",
    ),
    "importance": (
        "rcas_plugin.cli.importance:add_importance",
        "draw which weights of a checkpoint serve a label: heat maps, histograms, overlap with the other labels",
    ),
    "fold": (
        "rcas_plugin.cli.fold:add_fold",
        "make one plain StudioGAN checkpoint of a run whose method has put something around the weights (bn_propagation)",
    ),
    "doctor": (
        "rcas_plugin.cli.doctor:add_doctor",
        "print what was found (StudioGAN, patch, torch, device, seams) and what to do",
    ),
    "install": (
        "rcas_plugin.cli.install:add_install",
        "give StudioGAN's main.py its --plugin flag (adds lines to that one file)",
    ),
    "uninstall": ("rcas_plugin.cli.install:add_uninstall", "take the flag out again, byte for byte"),
    "config": (
        "rcas_plugin.settings.command:add_config",
        "print every key of the RCAS section with its default, or a JSON schema of it for an editor",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `rcas`; returns the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    args = build_parser(words[:1]).parse_args(words)
    try:
        return int(args.run(args))
    except BrokenPipeError:  # who reads the output has seen enough
        sys.stdout = None  # nothing is flushed into the pipe at exit
        return 0
    except (RcasError, OSError) as error:  # OSError: a StudioGAN that may not be written to
        print(f"rcas: error: {error}", file=sys.stderr)
        return 2


def build_parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """The parser of `rcas`, one sub-parser a command.

    Args:
        commands: that get their arguments, and their modules imported (default: all); of the others there is the name alone.
    """
    parser = argparse.ArgumentParser(
        prog="rcas",
        description="Class-swap learning for PyTorch-StudioGAN: a new class in the label slot of an obsolete one.",
        epilog="Swap a class:  rcas swap --ckpt DIR --data DIR --slot 9 --new 0\n"
        "With a config: python STUDIOGAN/src/main.py --plugin rcas -t -cfg swap.yaml -ckpt DIR -data DIR -save OUT",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (adds, text) in COMMANDS.items():
        command = subparsers.add_parser(name, help=text, description=text)
        if name in commands:
            module, _, function = adds.partition(":")
            getattr(import_module(module), function)(command)
    return parser
