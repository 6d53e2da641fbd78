"""Session: the link between a simulator and one client."""

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
    """The link to one client, as ``serve()`` gets it. One thread may read; any thread may write and close.

    Attributes:
        address: of the client, for people.
        url: where the client has connected: one of the simulator's ``urls``.
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
        """Return up to ``size`` bytes as soon as there are any; ``b""`` at the end.

        Raises:
            TimedOut: nothing arrived within ``timeout`` seconds.
            ConnectionLost: the client reset the link.
        """
        outcome = self._inbound.read(size, Deadline(timeout))
        if isinstance(outcome, Ending):
            self.end(outcome)
            return b""
        return outcome

    def write(self, data: bytes, timeout: float | None = WRITE_TIMEOUT) -> None:
        """Send all of ``data``, never mixed with what another thread writes.

        Raises:
            ConnectionLost: the link has ended, or the client did not read the data within ``timeout`` seconds, which
                ends the link. A serial line does not end; unread data is lost there.
        """
        try:
            outcome = self._outbound.write(data, timeout)
        except ConnectionLost:
            self.end(Ending.RESET)
            raise
        if outcome is not None:
            self.end(outcome)

    def wait(self, seconds: float) -> bool:
        """Wait; return whether the session ended meanwhile. Use it for pauses, as it does not delay a stop."""
        return self._flow.wait_ended(seconds)

    def close(self) -> None:
        """Close the link in an orderly way: the client reads everything that was written, then the end.

        A link that a fault has made half-open stays half-open.
        """
        if not self._flow.frozen:
            self._outbound.release()
            self.end(Ending.CLOSE)

    def reset(self) -> None:
        """Reset the link, as a TCP client sees. A link that a fault has made half-open stays half-open."""
        if not self._flow.frozen:
            self.end(Ending.RESET)

    def when_ended(self, function: Callable[[], object]) -> None:
        """Call ``function`` when the link ends on this side; it must be quick and may be called twice."""
        self._on_end = function
        if self.closed:
            function()

    @property
    def datagrams(self) -> bool:
        """Whether ``read`` and ``write`` transfer datagrams."""
        return isinstance(self._link, DatagramLink)

    @property
    def sender(self) -> tuple[str, int]:
        """Host and port of the sender of the last datagram that was read."""
        assert isinstance(self._link, DatagramLink)
        return self._link.peer[0], self._link.peer[1]

    # The rest is for the simulator.

    def open(self) -> bool:
        """Carry out the faults of arrival, then the TLS handshake, if there is one.

        Returns:
            whether there is a client to serve.

        Raises:
            ConnectionLost: the handshake failed, or took too long.
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
        """Apply other faults from now on."""
        self._timers.cancel()
        with self._lock:
            self._course = course
            self._inbound.pipe, self._outbound.pipe = course.inbound, course.outbound
            self._flow.resume()
        if self._outbound.holds is not None:
            self._timers.start(0, self._outbound.release)
        self._arm(course)

    def finish(self) -> None:
        """End the link after service, but not while a fault keeps it half-open."""
        while not self.closed:
            self._flow.wait_flowing()
            self.close()
        self._timers.stop(JOIN_TIMEOUT)

    def end(self, ending: Ending) -> None:
        """End the link now, even if it is half-open. The first of several ends counts."""
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
        """End or freeze the link as a fault wants it, if the fault still applies."""
        with self._lock:
            ruling = course is self._course
            if ruling and ending is Ending.HALF_OPEN:
                self._flow.freeze()
        if ruling and ending is not Ending.HALF_OPEN:
            self.end(ending)
