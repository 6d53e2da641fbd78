"""A simulated service and a connector to it, for tests."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import pytest

import cnx
from cnx.clients.tecoroute import Connector, Pace, TecorouteSimulator
from cnx.clients.tecoroute.protocol.session import decode
from cnx.clients.tecoroute.simulator.service import MODELS, Accounts
from cnx.transports.transport import Transport

PATIENCE = 10.0
"""Seconds that a test waits for what has to happen; far more than it takes."""

AT_ONCE = Pace(0.0)
LOGIN_REQUESTS = 3


def manual_service(**options: Any) -> TecorouteSimulator:
    """Return a service whose PLC is silent, so that the test says what is answered, and when."""
    return TecorouteSimulator(Accounts(plcs={"AB_1234": MODELS["silent"]}), **options)


def connector_to(simulator: TecorouteSimulator, **options: Any) -> Connector:
    """Return a connector to a simulator that listens, with the simulator's one account and no pace."""
    url = urlsplit(simulator.urls[0] if simulator.urls else simulator.listen_tcp())
    settings = {
        "username": "BroukPytlik",
        "password": "ferda1",
        "plc": "AB_1234",
        "tecoroute_host": url.hostname,
        "tecoroute_port": url.port,
        "pace": AT_ONCE,
        **options,
    }
    return Connector(**settings)


@contextmanager
def connected(simulator: TecorouteSimulator, **options: Any) -> Iterator[Connector]:
    """Give a connected connector; simulator and connector are ended after the block."""
    connector = connector_to(simulator, **options)
    with simulator:
        try:
            yield connector.connect()
        finally:
            connector.teardown()


def wait_for_data(simulator: TecorouteSimulator, count: int) -> list[bytes]:
    """Wait until so many DATA.BIN requests came, and return what they carried."""
    total = LOGIN_REQUESTS + count
    assert simulator.record.wait_for(lambda requests: len(requests) >= total, PATIENCE)
    return [decode(request.body) for request in simulator.record.snapshot("/DATA.BIN")]


def epsnet(number: int, payload: bytes = b"\xe5") -> bytes:
    """Return an EPSNET datagram with this message id."""
    frames = payload
    return number.to_bytes(2, "big") + b"\x02\x00" + len(frames).to_bytes(2, "big") + frames + bytes(len(frames) % 2)


class HookedTransport(Transport):
    """A transport from which nothing arrives, and whose writes call a function."""

    address = "the hooked transport"

    def __init__(self, on_write: Callable[[bytes], int]) -> None:
        self._on_write = on_write
        self._over = threading.Event()

    def read(self, size: int, timeout: float | None) -> bytes:
        """Wait for the end."""
        if not self._over.wait(timeout):
            raise cnx.TimedOut("nothing arrived")
        raise cnx.PeerClosed("the transport was shut down")

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        """Call the function, which returns how many bytes were sent."""
        return self._on_write(bytes(data))

    def shutdown(self) -> None:
        """Wake the reader."""
        self._over.set()

    def close(self) -> None:
        """Nothing is open."""


class HookedConnection(cnx.StreamConnection):
    """A connection whose writes call a function that returns how many bytes were sent."""

    def __init__(self, on_write: Callable[[bytes], int]) -> None:
        super().__init__()
        self._on_write = on_write

    def open_transport(self, deadline: cnx.Deadline) -> Transport:
        """Return a new transport."""
        return HookedTransport(self._on_write)


class Caller(threading.Thread):
    """A thread that makes one call, whose outcome can be waited for."""

    def __init__(self, function: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(name=f"test calls {function.__name__}", daemon=True)
        self._call = lambda: function(*arguments, **options)
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Make the call."""
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error

    def outcome(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        self.join(PATIENCE)
        assert not self.is_alive(), "the call did not end"
        if self._error is not None:
            raise self._error
        return self._result


class Interrupted(BaseException):
    """What an alarm raises."""


may_be_swallowed = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""For tests with many alarms: one that strikes in a callback of the garbage collector is reported by that, and over."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Interrupt the block with an exception after a time, or soon after it if a thread is being started then.

    ``Thread.start`` of the standard library does not bear an exception: its lock may stay held, the thread stuck.
    """

    def strike(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code is threading.Thread.start.__code__:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                return
            frame = frame.f_back
        raise Interrupted

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
