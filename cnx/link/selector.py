"""Waiting for input on many descriptors, where any thread may say which ones matter."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from typing import Protocol

from cnx.threads.locks import Lock

__all__ = ["AWAY", "HANGUP", "INPUT", "NOTHING", "EpollWatch", "PollWatch", "Watch", "new_watch"]

NOTHING, HANGUP, INPUT, AWAY = range(4)
"""What to be told of: nothing for a moment, only that the peer is gone, that and input, or nothing for a while."""


class Watch(Protocol):
    """What a listener waits with.

    Attributes:
        wait: returns the descriptors with news and their events, at the latest after so many seconds (``None``: no
            limit); one that was not added only woke the thread.
        gone: what of an event says that the peer may be gone.
    """

    wait: Callable[[float | None], list[tuple[int, int]]]
    gone: int

    def add(self, fd: int) -> None:
        """Take a descriptor in, not armed."""

    def arm(self, fd: int, interest: int) -> None:
        """Say what to report of ``fd``: input again and again, all else once; also a thread that waits takes note."""

    def remove(self, fd: int) -> None:
        """Take a descriptor out, before it is closed."""

    def poke(self) -> None:
        """Make ``wait`` return."""

    def close(self) -> None:
        """Release the descriptors."""


_IN, _GONE, _BROKEN, _ONCE = (getattr(select, f"EPOLL{name}", 0) for name in ("IN", "RDHUP", "HUP", "ONESHOT"))


class EpollWatch(Watch):
    """A watch on Linux."""

    gone = _GONE | _BROKEN | getattr(select, "EPOLLERR", 0)
    # epoll always tells that a socket is shut down in both directions; once is enough where nothing is asked for
    _events = _ONCE, _ONCE | _GONE, _GONE | _IN  # for NOTHING, HANGUP, INPUT
    _always_ready = -1

    def __init__(self) -> None:
        if EpollWatch._always_ready < 0:
            EpollWatch._always_ready = os.eventfd(1)  # one for the process: arming it wakes a waiting thread
        self._ready = EpollWatch._always_ready  # another thread may make its first watch at the same moment
        self._epoll = select.epoll()
        self._epoll.register(self._ready, 0)
        self.wait = self._epoll.poll  # straight, as this runs for every message

    def add(self, fd: int) -> None:
        self._epoll.register(fd, self._events[NOTHING])

    def arm(self, fd: int, interest: int) -> None:
        if interest == AWAY:
            self.remove(fd)
            return
        try:
            self._epoll.modify(fd, self._events[interest])
        except FileNotFoundError:  # it was away
            self._epoll.register(fd, self._events[interest])

    def remove(self, fd: int) -> None:
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)

    def poke(self) -> None:
        self._epoll.modify(self._ready, select.EPOLLIN | select.EPOLLONESHOT)

    def close(self) -> None:
        self._epoll.close()


class PollWatch(Watch):
    """A watch for systems without epoll: arming wakes the waiting thread, which costs more.

    Whether the peer is gone cannot be told there, so it always may be.
    """

    gone = 1

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
        return [(fd, self.gone) for fd in ready]

    def close(self) -> None:
        self._wake_read.close()
        self._wake_write.close()


def _readable(fds: list[int], timeout: float | None) -> list[int]:
    if not hasattr(select, "poll"):
        return list(select.select(fds, [], [], timeout)[0])
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(None if timeout is None else timeout * 1000)]


def new_watch() -> Watch:
    """Return the best watch that this system has."""
    return EpollWatch() if hasattr(select, "epoll") and hasattr(os, "eventfd") else PollWatch()
