"""How soon a connection is up again after its server is: computed from the waits of each library, and measured.

Long outages are simulated: an attempt takes no time, as a refused one nearly does, and the delay is the time from the
end of the outage to the next attempt. The waits of cnx and websockets come from their own code; those of the others
are copied from their sources:

* paho-mqtt, ``Client._reconnect_wait``: 1 s, doubled up to 120 s.
* pymodbus, ``ModbusTransport.do_reconnect``: 0.1 s, doubled up to 300 s.
* Twisted, ``ReconnectingClientFactory``: 1 s times e, normally distributed, up to 3600 s.
* cnxman: 5 s, and a ``RecursionError`` at the 124th attempt.
"""

from __future__ import annotations

import math
import random
import socket
import statistics
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from itertools import repeat
from time import monotonic

from cnx import Backoff, ConnectionManager, SocketConnection, State, subscribe
from tests.benchmarks.harness import Case, case, percentile

LONGEST = 600.0
"""Seconds."""

OUTAGES = 500
"""Simulated outages in a round."""

TOGETHER = 40
SHORT = (0.3, 2.0)
"""Number of real outages at the same time, and their length in seconds."""

LOCAL, DEFAULT = "cnx, Backoff.local()", "cnx, Backoff(), the default"
Waits = Callable[[], Iterable[float]]


def doubled(first: float, cap: float) -> Iterator[float]:
    """Yield waits that double."""
    wait = first
    while True:
        yield wait
        wait = min(wait * 2, cap)


def twisted() -> Iterator[float]:
    """Yield the waits of a ``ReconnectingClientFactory``."""
    wait = 1.0
    while True:
        wait = min(wait * math.e, 3600.0)
        wait = random.normalvariate(wait, wait * 0.11962656472)
        yield wait


def websockets() -> Iterator[float]:
    """Yield the waits of ``async for link in connect(...)``, which tries at once after a loss."""
    from websockets.client import backoff

    yield 0.0
    yield from backoff()


def delay_after(outage: float, waits: Iterable[float]) -> float:
    """Return the seconds from the end of an outage to the next attempt; infinite if there is none."""
    now = 0.0
    for wait in waits:
        now += wait
        if now >= outage:
            return now - outage
    return math.inf


def simulated(waits: Waits) -> float:
    """Return the 95th percentile of the delays after outages of all lengths up to ten minutes."""
    return percentile(95)([delay_after(random.uniform(0.0, LONGEST), waits()) for _ in range(OUTAGES)])


@case("recovery")
def recovery() -> Iterator[Case]:
    """After outages of up to ten minutes, simulated; then after short ones, measured."""
    made = Case("recovery, p95 after outages of up to 10 minutes, simulated", "s", less=True, absolute=True)
    made.leader = LOCAL
    made.way(LOCAL, partial(simulated, Backoff.local().delays), 1.0)
    made.way(DEFAULT, partial(simulated, Backoff().delays), 30.0)
    made.way("cnxman", partial(simulated, lambda: repeat(5.0, 124)))
    made.way("paho-mqtt", partial(simulated, lambda: doubled(1.0, 120.0)))
    made.way("pymodbus, asynchronous", partial(simulated, lambda: doubled(0.1, 300.0)))
    made.way("Twisted ReconnectingClientFactory", partial(simulated, twisted))
    if find_spec("websockets") is not None:
        made.way("websockets", partial(simulated, websockets))
    yield made
    made = Case(f"recovery, p95 after outages of {SHORT[0]:g} to {SHORT[1]:g} s, measured", "s", absolute=True)
    made.less = True
    made.way(LOCAL, partial(measured, Backoff.local()), 1.0)
    made.way(DEFAULT, partial(measured, Backoff()), 30.0)
    yield made


class Outage:
    """A server that goes and comes back, and a manager that reconnects."""

    def __init__(self, backoff: Backoff) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._port = self._server.getsockname()[1]
        self._manager = ConnectionManager(SocketConnection("127.0.0.1", self._port), backoff=backoff)
        self._manager.connect(10.0)
        self._there = threading.Event()
        self._again = math.inf
        self._subscription = subscribe(self._manager, ConnectionManager.Signals.STATE_CHANGED, self._on_state)

    def _on_state(self, new: State) -> None:
        if new is State.CONNECTED:
            self._again = monotonic()
            self._there.set()

    def run(self, seconds: float) -> float:
        """Stop the server for ``seconds``; return how many seconds after its return the manager is connected."""
        peer, _ = self._server.accept()
        self._server.close()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME_WAIT on the port
        peer.close()
        threading.Event().wait(seconds)
        with socket.create_server(("127.0.0.1", self._port)):
            back = monotonic()
            self._there.wait(60.0)
            self._subscription.cancel()
            self._manager.teardown()
        return self._again - back


def measured(backoff: Backoff) -> float:
    """Return the 95th percentile of the delays after real outages, many at the same time."""
    outages = [Outage(backoff) for _ in range(TOGETHER)]
    delays: list[float] = []
    with ExitStack() as stack:
        for outage in outages:
            thread = threading.Thread(target=lambda one=outage: delays.append(one.run(random.uniform(*SHORT))))
            thread.start()
            stack.callback(thread.join)
    return percentile(95)(delays)


assert statistics.median([delay_after(7.0, repeat(5.0, 124))]) == 3.0
