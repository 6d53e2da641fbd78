"""One client of a simulator."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cnx.deadline import Deadline
from cnx.errors import ConnectionLost, TimedOut
from cnx.faults.fault import Ending
from cnx.faults.plan import Course
from cnx.simulation.channels import DatagramLink, Link, WouldBlock
from cnx.simulation.streams import WRITE_TIMEOUT, Flow, Inbound, Outbound
from cnx.simulation.timers import Timers

__all__ = ["Session"]

HANDSHAKE_TIMEOUT = 10.0
JOIN_TIMEOUT = 1.0


class Session:
    """The link to one client, as ``serve()`` gets it. One thread reads; any thread writes and closes.

    Attributes:
        address: of the client, for people.
        url: where the client came in, one of the simulator's ``urls``.
    """

    def __init__(self, link: Link, url: str, course: Course) -> None:
        self.address = link.address
        self.url = url
        self._link = link
        self._course = course
        self._flow = Flow()
        self._inbound = Inbound(link, self._flow, course.inbound)
        self._timers = Timers(f"fault {link.address}")
        self._outbound = Outbound(link, self._flow, course.outbound, self._timers)
        self._lock = threading.Lock()
        self._ending: Ending | None = None
        self._on_end: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<Session {self.address} {'closed' if self.closed else 'open'}>"

    @property
    def closed(self) -> bool:
        """Whether the link was ended on this side."""
        return self._flow.ended

    def read(self, size: int = 65536, timeout: float | None = None) -> bytes:
        """Return up to ``size`` bytes as soon as there are any, and ``b""`` at the end.

        Raises:
            TimedOut: nothing came within ``timeout`` seconds.
            ConnectionLost: the client reset the link.
        """
        outcome = self._inbound.read(size, Deadline(timeout))
        if isinstance(outcome, Ending):
            self.end(outcome)
            return b""
        return outcome

    def write(self, data: bytes, timeout: float | None = WRITE_TIMEOUT) -> None:
        """Send ``data`` whole, and never mixed with what another thread writes.

        Raises:
            ConnectionLost: the link is over, or the client did not take the data within ``timeout`` seconds, which
                ends the link. A serial line lives on, and what nobody read is lost.
        """
        try:
            outcome = self._outbound.write(data, timeout)
        except ConnectionLost:
            self.end(Ending.RESET)
            raise
        if outcome is not None:
            self.end(outcome)

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether the session ended meanwhile: for a pace that does not hold up a stop."""
        return self._flow.wait_ended(seconds)

    def close(self) -> None:
        """End the link in order: the client reads everything that was written, then the end.

        A link that a fault made half-open stays so.
        """
        if not self._flow.frozen:
            self._outbound.release()
            self.end(Ending.CLOSE)

    def reset(self) -> None:
        """End the link abruptly: a TCP client sees a reset. A link that a fault made half-open stays so."""
        if not self._flow.frozen:
            self.end(Ending.RESET)

    def when_ended(self, function: Callable[[], object]) -> None:
        """Call ``function``, which is quick and may be called twice, when the link ends on this side."""
        self._on_end = function
        if self.closed:
            function()

    @property
    def datagrams(self) -> bool:
        """Whether what is read and written are datagrams."""
        return isinstance(self._link, DatagramLink)

    @property
    def sender(self) -> tuple[str, int]:
        """Host and port of the sender of the last datagram that was read."""
        assert isinstance(self._link, DatagramLink)
        return self._link.peer[0], self._link.peer[1]

    # The rest is for the simulator.

    def open(self) -> bool:
        """Receive the client: faults of arrival first, then the TLS handshake, if there is one.

        Returns:
            whether there is a client to serve.

        Raises:
            ConnectionLost: the handshake failed, or was not over in time.
        """
        course = self._course
        for step in course.arrival:
            course.record("link", step)
            if isinstance(step, Ending):
                self._meet(course, step)
            elif isinstance(step, float):
                self._flow.pause(step)
        self._arm(course)
        self._flow.wait_flowing()
        deadline = Deadline(HANDSHAKE_TIMEOUT)
        with self._inbound.lock:
            while not self.closed and not self._shake_hands(deadline):
                self._flow.wait_flowing()
        return not self.closed

    def follow(self, course: Course) -> None:
        """Let other faults rule from now on."""
        self._timers.cancel()
        with self._lock:
            self._course = course
            self._inbound.pipe, self._outbound.pipe = course.inbound, course.outbound
            self._flow.resume()
        if self._outbound.holds is not None:
            self._timers.start(0, self._outbound.release)
        self._arm(course)

    def finish(self) -> None:
        """End the link after service, though not before a fault lets go of it."""
        while not self.closed:
            self._flow.wait_flowing()
            self.close()
        self._timers.stop(JOIN_TIMEOUT)

    def end(self, ending: Ending) -> None:
        """End the link now, also when it is half-open. When several ends meet, the first one counts."""
        with self._lock:
            self._ending = self._ending or ending
        self._flow.end()
        self._link.wake()
        if self._on_end is not None:
            self._on_end()
        with self._inbound.lock, self._outbound.lock:
            if self._ending is Ending.RESET:
                self._link.abort()
            else:
                self._link.close()

    def _shake_hands(self, deadline: Deadline) -> bool:
        try:
            self._link.handshake()
        except WouldBlock as blocked:
            try:
                self._link.wait(blocked.event, deadline.remaining())
            except TimedOut:
                raise ConnectionLost(f"{self.address} did not finish its TLS handshake") from None
            return False
        return True

    def _arm(self, course: Course) -> None:
        for seconds, ending in course.timed:
            if seconds > 0:
                self._timers.start(seconds, self._meet_timed, course, ending)
            else:
                self._meet_timed(course, ending)

    def _meet_timed(self, course: Course, ending: Ending) -> None:
        if course is self._course and not self.closed:
            course.record("link", ending)
            self._meet(course, ending)

    def _meet(self, course: Course, ending: Ending) -> None:
        """Do to the link what a fault wants, if it still rules."""
        with self._lock:
            ruling = course is self._course
            if ruling and ending is Ending.HALF_OPEN:
                self._flow.freeze()
        if ruling and ending is not Ending.HALF_OPEN:
            self.end(ending)
