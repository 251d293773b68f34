"""One run in a process of its own, forked from one that has imported torch already: started, waited for, ended."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: What StudioGAN and the plugin import and what does not look at either; once, in the process that forks.
HEAVY = ("torch", "torchvision", "wandb", "kornia", "timm", "sklearn.metrics", "sklearn.manifold", "scipy.linalg", "scipy.signal",
         "seaborn", "pandas", "matplotlib.pyplot", "h5py", "prdc", "torchmetrics", "pydantic", "rcas_plugin.hooks",
         "rcas_plugin.studiogan.swap_cli")  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        code: its exit code; None where its time ran out.
        seconds: wall clock.
        cpu_seconds: of the processor, its children's included.
        log: what it said.
    """

    code: int | None
    seconds: float
    cpu_seconds: float
    log: str

    @property
    def last_line(self) -> str:
        """The last line of its log: of a traceback, the error."""
        return next((line.strip() for line in reversed(self.log.splitlines()) if line.strip()), "nothing was said")

    @property
    def sentence(self) -> str:
        """What it was refused with, or nothing."""
        lines = [line for line in self.log.splitlines() if line.startswith("rcas: error: ")]
        return lines[-1].removeprefix("rcas: error: ") if lines and self.code == 2 else ""


class Child:
    """A function in a forked process; its output goes to a file."""

    def __init__(self, work: Callable[[], None], log: Path, timeout: float) -> None:
        self._log, self._timeout, self._start = log, timeout, time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():  # of Python 3.12 on, where there are threads; torch has started none
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            _run(work, log)

    def poll(self) -> Ended | None:
        """How it ended, or None while it runs; it is killed where its time has run out."""
        seconds = time.monotonic() - self._start
        done, status, used = os.wait4(self.pid, os.WNOHANG)
        if done:
            return Ended(os.waitstatus_to_exitcode(status), seconds, used.ru_utime + used.ru_stime, self._said())
        if seconds > self._timeout:
            self.kill()
            return Ended(None, seconds, seconds, self._said())
        return None

    def kill(self) -> None:
        """End the process and what it has started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self.pid, signal.SIGKILL)  # it has no group of its own yet
        os.waitpid(self.pid, 0)

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""


def _run(work: Callable[[], None], log: Path) -> None:
    """The forked process: it never returns."""
    code = 1
    try:
        os.setsid()  # Ctrl-C is for the parent, which ends its children
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for stream in (1, 2):
            os.dup2(file, stream)
        sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)
        work()
        code = 0
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else 0 if asked.code is None else 1
        if isinstance(asked.code, str):
            print(asked.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
