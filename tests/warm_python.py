"""A Python that has imported torch and StudioGAN's other large packages once, and runs each command in a fork of itself.

`run(...)` is `subprocess.run([sys.executable, ...], capture_output=True, text=True)`, but for the seconds that those imports
take: a start of main.py is mostly that. Neither the plugin nor StudioGAN is imported before the fork, so both start anew in
each run, as `python -m` starts them. A test of the start itself, or of what is imported, takes a new Python.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

#: What StudioGAN and the plugin import, and what looks at neither. Not kornia: it starts a thread, which a fork has not.
HEAVY = (
    "torch", "torch._dynamo", "torch.distributed", "torchvision", "wandb", "timm", "sklearn.metrics", "sklearn.manifold",
    "scipy.linalg", "scipy.optimize", "scipy.signal", "scipy.stats", "seaborn", "pandas", "matplotlib.pyplot", "h5py", "prdc",
    "torchmetrics.image.fid", "pydantic", "yaml", "jinja2", "safetensors.torch",
)  # fmt: skip


def run(*arguments: object, environment: Mapping[str, str] | None = None, input: str = "") -> subprocess.CompletedProcess[str]:
    """What `python ARGUMENTS` ends with and prints, in this folder and environment.

    Args:
        arguments: a file, `-m MODULE` or `-c CODE`, and what goes to it.
        environment: variables that this process does not have, or has otherwise; Python's own (PYTHON...) come too late.
        input: what it reads from stdin.
    """
    command, variables = list(map(str, arguments)), {**os.environ, **(environment or {})}
    if _cuda():  # which is lost in a fork
        return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, env=variables, input=input)
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
        streams[0].write_text(input, encoding="utf-8")
        asked = {"arguments": command, "environment": variables, "folder": os.getcwd(), "streams": list(map(str, streams))}  # noqa: PTH109
        code = _server().ask(asked)
        said = [stream.read_text(encoding="utf-8", errors="replace") if stream.is_file() else "" for stream in streams[1:]]
    return subprocess.CompletedProcess([sys.executable, *command], code, *said)


@functools.cache
def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


class _Server:
    """The process that forks."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"OMP_NUM_THREADS": "1", **os.environ, "TMPDIR": self._temporary.name},  # a pool of threads is lost in a fork
        )  # fmt: skip
        atexit.register(self.close)

    def ask(self, asked: Mapping[str, Any]) -> int:
        """The exit code of a command, once it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks has ended"
        return int(answer)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._temporary.cleanup()


@functools.cache
def _server() -> _Server:
    return _Server()


def _serve() -> dict[str, Any]:
    """What is asked for, in each forked process; the one that forks ends here."""
    sys.path.pop(0)  # this file's folder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in HEAVY:
            importlib.import_module(module)
    folders = [str(path) for path in Path(tempfile.gettempdir()).rglob("*") if path.is_dir()]
    gc.freeze()
    # Python's own streams read ahead and are flushed by each child; the pipes are this process's alone
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    for line in requests:
        child = os.fork()
        if not child:
            return {**json.loads(line), "temporary": folders}
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()
    os._exit(0)


def _become(asked: dict[str, Any]) -> int:
    """Make this process what `python ARGUMENTS` is, run it to its end, and return its exit code."""
    import random

    import numpy as np
    import torch

    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    for folder in asked["temporary"]:  # wandb's, made as it is imported and removed at the end of each run
        Path(folder).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(asked["streams"]):
        file = os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY, 0o600)
        os.dup2(file, number)
        os.close(file)
    tempfile.tempdir = None
    random.seed()
    np.random.seed(None)
    torch.seed()
    kind, *rest = asked["arguments"]
    try:
        if kind == "-m":
            module, sys.argv = rest[0], rest
            sys.path.insert(0, asked["folder"])
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        elif kind == "-c":
            code, sys.argv = rest[0], ["-c", *rest[1:]]
            sys.path.insert(0, "")
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [kind, *rest]
            sys.path.insert(0, str(Path(kind).resolve().parent))
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """End a forked process as Python ends, but for the seconds in which it would take every module apart."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _end(_become(_serve()))
