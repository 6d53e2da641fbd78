"""Selector: wait for input on many descriptors, while any thread may change which ones to wait for.

A change takes effect at once on a thread that is already waiting. ``epoll`` allows that; on other systems a socket pair
wakes the thread. The module ``selectors`` of the standard library does not promise it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from typing import Protocol

from cnx.threads.locks import Lock

__all__ = ["HANGUP", "INPUT", "NOTHING", "EpollSelector", "PollSelector", "Selector", "new_selector"]

NOTHING, HANGUP, INPUT = range(3)
"""What to report for a descriptor: nothing; that the peer is gone, once; or that, and input."""


class Selector(Protocol):
    """What a listener waits with.

    Attributes:
        wait: waits for at most so many seconds (``None``: no limit); returns ready descriptors with their events. A
            descriptor that was never added has only woken the thread.
        gone: mask of the events which say that the peer is gone: it sends nothing more.
    """

    wait: Callable[[float | None], list[tuple[int, int]]]
    gone: int

    def add(self, fd: int) -> None:
        """Add a descriptor, armed for nothing."""

    def arm(self, fd: int, interest: int) -> None:
        """Set what to report for ``fd``: input repeatedly, anything else once. Effective at once, also in ``wait``."""

    def remove(self, fd: int) -> None:
        """Remove a descriptor, before it is closed."""

    def poke(self) -> None:
        """Make ``wait`` return."""

    def close(self) -> None:
        """Release the descriptors."""


_IN, _GONE, _BROKEN, _ONCE = (getattr(select, f"EPOLL{name}", 0) for name in ("IN", "RDHUP", "HUP", "ONESHOT"))


class EpollSelector(Selector):
    """The selector for Linux."""

    gone = _GONE | _BROKEN | getattr(select, "EPOLLERR", 0)
    # epoll always reports that a socket is shut down in both directions; ONESHOT makes it report that only once
    _events = _ONCE, _ONCE | _GONE, _GONE | _IN  # for NOTHING, HANGUP, INPUT
    _kept: tuple[int, tuple[int, int]] = -1, (0, 0)

    def __init__(self) -> None:
        self._ready = EpollSelector._always_ready()
        self._epoll = select.epoll()
        try:
            self._epoll.register(self._ready, 0)
        except BaseException:
            self._epoll.close()
            raise
        self.wait = self._epoll.poll  # without a method in between, as this runs for every message

    @classmethod
    def _always_ready(cls) -> int:
        """Return a descriptor that can always be written: arming it wakes a waiting thread. The process has only one.

        A program that becomes a daemon closes all descriptors, and the number may be that of another file by now. A
        socket has a number of its own in the system, by which it is recognised; an eventfd has none.
        """
        fd, identity = cls._kept
        try:
            if fd >= 0 and _identity(fd) == identity:
                return fd
        except OSError:
            pass  # it was closed
        fd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()
        cls._kept = fd, _identity(fd)  # in one step, as another thread may make one at the same moment
        return fd

    def add(self, fd: int) -> None:
        self._epoll.register(fd, self._events[NOTHING])

    def arm(self, fd: int, interest: int) -> None:
        self._epoll.modify(fd, self._events[interest])

    def remove(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)

    def poke(self) -> None:
        self._epoll.modify(self._ready, select.EPOLLOUT | select.EPOLLONESHOT)

    def close(self) -> None:
        self._epoll.close()


class PollSelector(Selector):
    """The selector for systems without epoll: arming wakes the waiting thread, which costs more.

    It cannot tell input from the end of the connection, so the end is found by reading.
    """

    gone = 0

    def __init__(self) -> None:
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._interests: dict[int, int] = {}
        self._lock = Lock()
        self.wait = self._poll

    def add(self, fd: int) -> None:
        with self._lock:
            self._interests[fd] = NOTHING

    def arm(self, fd: int, interest: int) -> None:
        with self._lock:
            self._interests[fd] = interest
        self.poke()

    def remove(self, fd: int) -> None:
        with self._lock:
            self._interests.pop(fd, None)
        self.poke()

    def poke(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake
            self._wake_write.send(b"x")

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        with self._lock:
            armed = [fd for fd, interest in self._interests.items() if interest == INPUT]
        ready = [fd for fd in _readable([self._wake_read.fileno(), *armed], timeout) if fd in armed]
        with contextlib.suppress(OSError):
            self._wake_read.recv(4096)
        return [(fd, 1) for fd in ready]

    def close(self) -> None:
        self._wake_write.close()  # first, as writing to the other one would then raise SIGPIPE
        self._wake_read.close()


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _readable(fds: list[int], timeout: float | None) -> list[int]:
    if not hasattr(select, "poll"):
        return list(select.select(fds, [], [], timeout)[0])
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(None if timeout is None else timeout * 1000)]


def new_selector() -> Selector:
    """Return the best selector that this system has."""
    return EpollSelector() if hasattr(select, "epoll") else PollSelector()
