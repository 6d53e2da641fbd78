"""Who can ask for a stop, amid which faults; and what has to be true after it."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from cnx import Cancelled, CnxError, Connection, ConnectionManager, State, TornDown, subscribe
from cnx.faults import (
    Fault,
    accept_close,
    bandwidth,
    corrupt,
    delay,
    drop,
    duplicate,
    garbage,
    half_open,
    hang_tls,
    huge_frame,
    merge,
    refuse,
    reset,
    slow_accept,
    split,
    truncate,
    unplug,
    wrong_certificate,
)
from cnx.testing import PATIENCE, eventually
from tests.helpers.kinds_of_connections import UNTRUSTED, Thing

__all__ = ["AT_ARRIVAL", "AT_WORK", "BOUND", "FULL", "LONG", "TLS_ALONE", "WAYS", "Scene", "faults_of"]

BOUND = 2.2
"""Seconds within which a stop is over."""

FULL = bool(os.environ.get("CNX_FULL_MATRIX"))
LONG = 3600.0
ALWAYS = 1 << 30

AT_WORK: list[Fault] = [
    *(delay(LONG), delay(0.005, jitter=0.005, direction="both"), bandwidth(5), split(1), merge(100, within=LONG)),
    *(corrupt(1.0), duplicate(1.0), drop(1.0), truncate(3), garbage(), huge_frame(1 << 22)),
    *(reset(0.01), half_open(), unplug(0.0, seconds=LONG)),
]
"""What begins when the connection is up."""

AT_ARRIVAL: list[Fault] = [refuse(ALWAYS), accept_close(ALWAYS), slow_accept(LONG)]
TLS_ALONE: list[Fault] = [hang_tls(ALWAYS), wrong_certificate(UNTRUSTED)]
WITHOUT_ARRIVAL = ("udp", "serial")


def faults_of(kind: str) -> list[Fault]:
    """Return the faults that a kind of connection can meet."""
    arrival = [] if kind in WITHOUT_ARRIVAL else AT_ARRIVAL
    return [*AT_WORK, *arrival, *(TLS_ALONE if kind == "tls" else [])]


class Scene:
    """A managed connection; remembers what it tells, and how long its stop took."""

    def __init__(self, thing: Thing, manager: ConnectionManager) -> None:
        self.thing = thing
        self.manager = manager
        self.told: list[BaseException | None] = []  # for each link None, then the reason of its end
        self.took = float("inf")
        self.stopped = threading.Event()
        self._subscriptions = [
            subscribe(thing.connection, Connection.Signals.CONNECTED, lambda: self.told.append(None)),
            subscribe(thing.connection, Connection.Signals.DISCONNECTED, lambda reason: self.told.append(reason)),
        ]

    def stop(self, *arguments: object, **named: object) -> None:
        """Tear the manager down, and note how long that took."""
        began = monotonic()
        self.manager.teardown()
        self.took = monotonic() - began
        self.stopped.set()

    def check(self) -> None:
        """Everything is over, and every link has one end with a reason."""
        assert self.took < BOUND
        assert self.manager.state is State.TORNDOWN
        assert eventually(lambda: len(self.told) % 2 == 0), "no end was told"
        assert not self.thing.connection.connected
        for connected, reason in zip(self.told[::2], self.told[1::2], strict=True):
            assert connected is None
            assert isinstance(reason, CnxError)
            assert str(reason)
            assert not isinstance(reason, Cancelled) or "()" in str(reason), "an end that was asked for says by what"

    def end(self) -> None:
        """Hear no more."""
        for subscription in self._subscriptions:
            subscription.cancel()


# -- who asks ----------------------------------------------------------------------------------------------------------


def main(scene: Scene) -> None:
    """The main thread."""
    scene.stop()


def timer(scene: Scene) -> None:
    """A timer thread."""
    thread = threading.Timer(0.0, scene.stop)
    thread.start()
    thread.join(PATIENCE)


def handler(scene: Scene) -> None:
    """A handler: of the end of the link, on the thread that tells it, or of the change of state where there is none."""
    done = threading.Event()

    def stop() -> None:
        if not done.is_set():
            scene.stop()
            done.set()

    with subscribe(scene.thing.connection, Connection.Signals.RAISE_ALARM, stop):
        with subscribe(scene.manager, ConnectionManager.Signals.STATE_CHANGED, stop):
            scene.thing.connection.raise_alarm("the test wants it")
            if scene.manager.state is State.DISCONNECTED:
                with contextlib.suppress(TornDown):  # which it may be by the time that it is told
                    scene.manager.connect(wait=False)
            else:
                scene.manager.disconnect()
            assert done.wait(PATIENCE)


def signal_handler(scene: Scene) -> None:
    """A signal handler, which interrupts the main thread while that waits."""
    with alarm(scene.stop):
        wait(scene)


def keyboard_interrupt(scene: Scene) -> None:
    """A program that is interrupted, and stops on its way out."""

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), alarm(interrupt):
        try:
            wait(scene)
        finally:
            scene.stop()


def wait(scene: Scene) -> None:
    """Wait for the end as programs do."""
    if scene.manager.state is State.TORNDOWN:
        scene.stopped.wait(PATIENCE)
    else:
        with contextlib.suppress(CnxError):
            scene.manager.wait_until(State.TORNDOWN, PATIENCE)


@contextmanager
def alarm(strike: Callable[..., object]) -> Iterator[None]:
    """Let a signal come in a moment."""
    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


class Finalizer:
    """Asks when it is collected, which only the garbage collection does, as it holds itself."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop
        self._me = self

    def __del__(self) -> None:
        self._stop()


def garbage_collection(scene: Scene) -> None:
    """A finalizer, in the garbage collection of whichever thread comes to it first."""

    def stopped() -> bool:
        gc.collect()  # does nothing while another thread collects, which may have begun too early for ours
        return scene.stopped.is_set()

    Finalizer(scene.stop)
    assert eventually(stopped)


WAYS = [main, timer, handler, signal_handler, keyboard_interrupt, garbage_collection]
