"""Heartbeat: noticing a peer that has vanished, by heartbeats, by writes that block, and by silence."""

from __future__ import annotations

import select
import sys
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Any

from cnx.connections.connection import Connection
from cnx.deadline import checked_interval
from cnx.errors import CnxError, ConnectionLost, TimedOut
from cnx.link.link import Link
from cnx.link.timers import Timer
from cnx.threads.hook import PROGRAMMING, report_error

try:
    import fcntl
    import termios
except ImportError:  # not POSIX
    fcntl = termios = None  # type: ignore[assignment]

__all__ = ["Beat", "Heartbeat"]

Beat = bytes | Callable[[Any], object]
"""What a heartbeat is: bytes to write, or a function that is called with the connection."""

LOOKS = 4
"""How often silence is looked for, within its limit."""


class Heartbeat:
    """What a connection does to notice that its peer has vanished.

    The watchdog looks whether the peer takes what is written and whether it is silent, and it writes heartbeats of
    bytes. So it notices that also while a handler runs or blocks. A heartbeat function may wait, for instance for a
    reply, and runs on the thread of the connection's timers; the watchdog looks whether it returns.

    Time in which the whole process did not run, as it was stopped, counts neither as silence nor as a stuck write.

    Args:
        beat: bytes to write, or a function that is called with the connection. An exception that it raises ends the
            link.
        interval: seconds between two heartbeats. A write or a function that takes longer than this ends the link.
        silence_limit: seconds without a byte from the peer after which the link ends; noticed up to a quarter later.

    Raises:
        TypeError, ValueError: an argument is invalid, or one is missing.
    """

    def __init__(self, beat: Beat | None, interval: float | None, silence_limit: float | None) -> None:
        if beat is not None and not callable(beat) and not (isinstance(beat, bytes) and beat):
            raise TypeError(
                f"heartbeat must be bytes to write, or a function to call with the connection, not {beat!r}"
            )
        if (beat is None) is not (interval is None):
            raise ValueError("heartbeat and heartbeat_interval must be given together")
        self._beat = beat
        self._interval = checked_interval(interval, "heartbeat_interval")
        self._silence_limit = checked_interval(silence_limit, "silence_limit")

    def start(self, connection: Connection, link: Link) -> None:
        """Begin with a new link; it ends with the link."""
        if self._beat is not None and self._interval is not None:
            pulse = _Pulse(connection, link, self._beat, self._interval)
            link.watch(Timer(link, self._interval, lambda: pulse.look()))  # a method would be held weakly
            if pulse.waits:
                link.schedule(Timer(link, self._interval, lambda: pulse.call()))
        if self._silence_limit is not None:
            silence = _Silence(link, self._silence_limit)
            link.watch(Timer(link, self._silence_limit / LOOKS, lambda: silence.look()))


class _Pulse:
    """The heartbeats of one link.

    Attributes:
        waits: a heartbeat may wait, so :meth:`call` has to be called at every interval on a thread that may wait.
    """

    def __init__(self, connection: Connection, link: Link, beat: Beat, interval: float) -> None:
        self._connection = weakref.ref(connection)
        self._link = link
        self._beat = beat
        self._interval = interval
        self.waits = link.fd < 0 or not isinstance(beat, bytes)  # without a descriptor, nobody knows if a write waits
        self._clock = _Clock(interval)
        self._write = (0, 0)  # by the last look: the thread that was writing, and how many writes came before
        self._sent: int | None = None  # by the last look, if the peer did not take a heartbeat then
        self._calls = 0  # calls of the function that have begun
        self._calling = False  # one of them is in progress
        self._call = 0  # the one that was in progress at the last look

    def look(self) -> None:
        """Find out whether the peer takes what is written, and write a heartbeat of bytes; it does not wait."""
        link = self._link
        if link.wrote_eof:  # nothing can be written any more
            return
        stopped = self._clock.missed() > 0
        before, self._write = self._write, link.writing
        if self._write[0]:  # this shows as well as a heartbeat whether the peer takes anything
            if self._write == before and not stopped:
                link.end(ConnectionLost(f"{link.address} has taken nothing for {self._interval:g} s: a write is stuck"))
            return
        if self.waits:
            before_call, self._call = self._call, self._calls if self._calling else 0
            if self._call and self._call == before_call and not stopped:
                link.end(ConnectionLost(f"the heartbeat of {link.address} has not returned for {self._interval:g} s"))
        elif not is_writable(link.fd):
            if self._sent == link.sent and not stopped:
                link.end(
                    ConnectionLost(
                        f"{link.address} has taken nothing for {self._interval:g} s: a heartbeat does not fit"
                    )
                )
            self._sent = link.sent
        else:
            self._sent = None
            self._write_bytes(0.0)

    def call(self) -> None:
        """Call the function, or write bytes; it may wait."""
        connection = self._connection()
        if connection is None or self._link.wrote_eof:
            return
        self._calls += 1
        self._calling = True
        try:
            if isinstance(self._beat, bytes):
                self._write_bytes(self._interval)
            else:
                self._beat(connection)
        except CnxError as error:
            self._link.end(error)
        except Exception as error:
            if isinstance(error, PROGRAMMING):
                report_error(error, f"{connection.name}: the heartbeat failed, so the link ends")
            lost = ConnectionLost(f"the heartbeat of {connection.name} failed: {error!r}")
            lost.__cause__ = error
            self._link.end(lost)
        finally:
            self._calling = False

    def _write_bytes(self, timeout: float) -> None:
        assert isinstance(self._beat, bytes)
        try:
            self._link.write(self._beat, timeout)
        except TimedOut:
            pass  # another thread is writing; the next look finds out whether that is stuck
        except CnxError as error:
            self._link.end(error)


class _Silence:
    """The silence limit of one link."""

    def __init__(self, link: Link, limit: float) -> None:
        self._link = link
        self._limit = limit
        self._clock = _Clock(limit / LOOKS)
        self._received = link.received
        self._heard_at = monotonic()

    def look(self) -> None:
        """End the link if nothing has arrived for too long, neither here nor in the operating system."""
        link = self._link
        self._heard_at += self._clock.missed()
        now, received = monotonic(), link.received + bytes_waiting(link.fd)
        if received != self._received:
            self._received, self._heard_at = received, now
        elif now - self._heard_at >= self._limit:
            link.end(ConnectionLost(f"nothing arrived from {link.address} for {self._limit:g} s"))


class _Clock:
    """Notices time in which the process did not run, as something that is to happen at intervals did not happen."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._then = monotonic()

    def missed(self) -> float:
        """Return the seconds since the last call that are beyond twice the interval; 0 if there are none."""
        then, self._then = self._then, monotonic()
        return max(0.0, self._then - then - 2 * self._interval)


def is_writable(fd: int) -> bool:
    """Return whether a descriptor takes a few bytes without waiting."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return bool(poll.poll(0))
    return bool(select.select([], [fd], [], 0)[1])


def bytes_waiting(fd: int) -> int:
    """Return how many bytes wait to be read from a descriptor, where the system says so."""
    if fcntl is None or fd < 0:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:  # another thread is just closing it
        return 0
