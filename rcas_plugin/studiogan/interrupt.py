"""Ctrl-C while a run trains: the step at work is finished first, so that what is saved are whole steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interrupt:
    """Raises `KeyboardInterrupt` at the end of the step in which Ctrl-C is pressed; between steps, and a second time, at once."""

    def __init__(self) -> None:
        self._within = self._asked = False

    def listen(self) -> None:
        """Take over from Python's own answer to Ctrl-C; where the process ignores it or answers otherwise, that stays."""
        here = threading.current_thread() is threading.main_thread()
        if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._pressed)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        if not self._within or self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def step_begins(self) -> None:
        """From here on Ctrl-C waits."""
        self._within = True

    def step_is_done(self) -> None:
        """Raise `KeyboardInterrupt` where it was pressed since the step began."""
        self._within = False
        if self._asked:
            raise KeyboardInterrupt
