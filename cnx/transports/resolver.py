"""Look up the addresses of host names, and check names and ports."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from typing import Any

from cnx.deadline import Deadline
from cnx.errors import ConnectError, ConnectTimedOut
from cnx.threads.condition import Condition
from cnx.threads.starting import start_thread

__all__ = ["checked_host", "checked_port", "reason_of", "resolve", "shown"]

_PLAIN = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
"""A name, or an IPv4 address, that needs no further check."""


def checked_host(host: str, what: str = "host") -> str:
    """Return ``host`` if it can be a name or an address; raises TypeError, ValueError."""
    if not isinstance(host, str):
        raise TypeError(f"{what} must be text, not {host!r}")
    if _PLAIN.fullmatch(host):
        return host
    if not host or any(character.isspace() or character in "/[]@?#\x00" for character in host):
        raise ValueError(f"{what} must be a name or an address, not {host!r}")
    try:
        host.encode("idna")
        if ":" in host:
            ipaddress.IPv6Address(host)
    except ValueError as error:  # UnicodeError is one
        raise ValueError(
            f"{what} must be a name or an address, not {host!r}: {error}; pass the port separately"
        ) from error
    return host


def checked_port(port: int) -> int:
    """Return ``port`` if it is a port number; raises TypeError, ValueError."""
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be a number, not {port!r}")
    if not 1 <= port <= 65535:
        raise ValueError(f"port must be between 1 and 65535, not {port}")
    return port


def resolve(host: str, port: int, kind: int, deadline: Deadline) -> list[tuple[int, Any]]:
    """Return the addresses of ``host`` as (family, address), without duplicates.

    The system's resolver cannot be interrupted, so a name (but not a numeric address) is looked up on a thread of
    its own; if the deadline ends first, that thread is left to end with the resolver's own timeout. All attempts that
    want the same name meanwhile wait for that one.

    Args:
        host: a name, an IPv4 or an IPv6 address.
        port: the port that the addresses shall have.
        kind: ``socket.SOCK_STREAM`` or ``socket.SOCK_DGRAM``.
        deadline: when to give up.

    Raises:
        ConnectError: the name is unknown.
        ConnectTimedOut, Cancelled: the deadline ended.
    """
    deadline.check(f"looking up the name {host!r}")
    with contextlib.suppress(socket.gaierror, UnicodeError):
        return _each_once(socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST), port)
    return _each_once(_LookUp.of(host).wait(deadline), port)


class _LookUp:
    """A look-up of a name that is in progress, for all attempts that wait for it. Thread-safe."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._changed = Condition()
        self._outcome: list[Any] | Exception | None = None

    @classmethod
    def of(cls, host: str) -> _LookUp:
        """Return the look-up of ``host`` that is in progress, or begin one."""
        new = cls(host)
        look_up = _look_ups.setdefault(host, new)  # in one step, so that one of several threads begins it
        if look_up is new:
            try:
                start_thread(new._run, f"cnx looking up {host}")
            except ConnectError as error:
                new._end(error)
            except BaseException as error:  # an interrupt
                new._end(ConnectError(f"the look-up of {host!r} was interrupted: {error!r}"))
                raise
        return look_up

    def wait(self, deadline: Deadline) -> list[Any]:
        """Return what the system's resolver has found; raises OSError, UnicodeError."""
        with deadline.waking(self._changed.notify):
            self._changed.wait_for(lambda: self._outcome is not None or deadline.cancelled, deadline.remaining())
        outcome = self._outcome
        if deadline.cancelled:
            deadline.check(f"looking up the name {self._host!r}")
        if outcome is None:
            raise ConnectTimedOut(
                f"cannot find {self._host!r} within {deadline.seconds:g} s: the name server does not answer"
            )
        if isinstance(outcome, ConnectError):
            raise ConnectError(str(outcome)) from outcome.__cause__
        if isinstance(outcome, Exception):
            raise ConnectError(f"cannot find {self._host!r}: {reason_of(outcome)}; check the name") from outcome
        return outcome

    def _run(self) -> None:
        try:
            self._end(socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM))
        except Exception as error:  # UnicodeError, too
            self._end(error)

    def _end(self, outcome: list[Any] | Exception) -> None:
        _look_ups.pop(self._host, None)  # before the end is noticed: a later attempt begins a new one
        self._outcome = outcome
        self._changed.notify()


_look_ups: dict[str, _LookUp] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_look_ups.clear)  # their threads do not exist there


def _each_once(found: list[Any], port: int) -> list[tuple[int, Any]]:
    return list(dict.fromkeys((entry[0], (entry[4][0], port, *entry[4][2:])) for entry in found))


def shown(host: str, port: int) -> str:
    """Return host and port as they are written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason_of(error: BaseException) -> str:
    """Return the text of an error without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
