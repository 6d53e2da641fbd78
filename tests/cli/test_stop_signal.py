"""Signals that stop a command."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

from cnx.cli.console import stop_signal
from cnx.threads.condition import Gate
from tests.helpers.echo import PATIENCE, eventually


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread here")
def test_signal_that_does_not_interrupt_the_wait() -> None:
    """The flag is set although the waiting thread is not woken, as where the signal comes just before it sleeps."""
    main = threading.get_ident()
    before = signal.getsignal(signal.SIGINT), threading.active_count()
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
    assert (signal.getsignal(signal.SIGINT), threading.active_count()) == before
