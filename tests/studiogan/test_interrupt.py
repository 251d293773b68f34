"""Ctrl-C is answered at the end of a step."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from rcas_plugin.studiogan.interrupt import Interrupt


@pytest.fixture
def interrupt() -> Iterator[Interrupt]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    made = Interrupt()
    made.listen()
    yield made
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_step_is_finished_first(interrupt: Interrupt) -> None:
    interrupt.step_begins()
    interrupt.step_is_done()
    interrupt.step_begins()
    press()
    with pytest.raises(KeyboardInterrupt):
        interrupt.step_is_done()


def test_between_steps_and_a_second_time_at_once(interrupt: Interrupt) -> None:
    with pytest.raises(KeyboardInterrupt):
        press()
    interrupt.step_begins()
    press()
    with pytest.raises(KeyboardInterrupt):
        press()


def test_a_process_that_ignores_it_still_does() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        Interrupt().listen()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
