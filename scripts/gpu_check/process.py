"""A function in a process of its own, which may be waited for, interrupted and ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_starting = threading.Lock()


class Process:
    """Starts at once; what it says goes to a log.

    Args:
        target: a function of a module.
        args: its arguments.
        log: of its output; what is there stays.
        forked: take over what this process has imported: for a rehearsal. A process that is to use a GPU starts anew.
        group: whether it leads a group of processes, which `kill` ends with it.
        environment: variables that differ from this process's.
    """

    def __init__(
        self, target: Callable[..., object], args: tuple[Any, ...], log: Path, *, forked: bool, group: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._group = group
        context: Any = multiprocessing.get_context("fork" if forked else "spawn")
        self._process = context.Process(target=_run, args=(target, args, str(log), group))
        sys.stdout.flush()
        with _starting:  # libraries read their variables as they are loaded, which is before the function is called
            before = dict(os.environ)
            os.environ.update(environment or {})
            try:
                self._process.start()
            finally:
                os.environ.clear()
                os.environ.update(before)

    @property
    def runs(self) -> bool:
        return bool(self._process.is_alive())

    def wait(self, seconds: float) -> int | None:
        """Its exit code; None where it had not ended by then, and was killed."""
        self._process.join(max(0.0, seconds))
        if self._process.is_alive():
            self.kill()
            return None
        return int(self._process.exitcode)

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        os.kill(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        try:
            (os.killpg if self._group else os.kill)(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()  # it leads no group yet
        self._process.join()


def _run(target: Callable[..., object], args: tuple[Any, ...], log: str, group: bool) -> None:
    global _starting
    _starting = threading.Lock()  # a forked process has the one that is held while it starts
    if group:
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell has started the command in the background
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
    target(*args)
