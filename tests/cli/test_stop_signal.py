"""Signals that stop a command."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

from cnx.cli.console import stop_signal
from cnx.testing import PATIENCE, NewThreads, eventually
from cnx.threads.condition import Gate


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread here")
def test_signal_that_does_not_interrupt_the_wait(new_threads: NewThreads) -> None:
    """The flag is set although the waiting thread is not woken, as where the signal comes just before it sleeps."""
    main = threading.get_ident()
    before = signal.getsignal(signal.SIGINT)
    found: list[bool] = []

    def send() -> None:
        assert eventually(lambda: sys._current_frames()[main].f_code is Gate.wait.__code__)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # the kernel would choose the main thread
        found.append(eventually(stop.is_set))

    with stop_signal() as stop:
        sender = threading.Thread(target=send)
        sender.start()
        assert stop.wait(3 * PATIENCE)
        sender.join()
    assert found == [True]
    assert signal.getsignal(signal.SIGINT) == before
    assert not new_threads("")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="terminals do not hang up here")
def test_nohup_stays_in_force() -> None:
    """A command that was started to survive the end of its terminal goes on ignoring SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signal():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
