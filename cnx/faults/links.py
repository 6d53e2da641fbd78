"""Faults of whole links: how clients are accepted, and how links end."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from cnx.faults.fault import Ending, Fault, Step, option

__all__ = ["accept_close", "half_open", "hang_tls", "refuse", "reset", "slow_accept", "unplug", "wrong_certificate"]

DAY = 86400


@dataclass(frozen=True)
class refuse(Fault):
    """Reset the first ``times`` clients at once.

    The operating system has accepted them already, so ``connect()`` succeeds and the first read fails. For a port that
    is really closed, see ``unplug``.
    """

    times: int = option(1)

    def arrival(self, number: int, tls: bool) -> Iterable[Step]:
        """Reset."""
        return (Ending.RESET,) if number < self.times else ()


@dataclass(frozen=True)
class accept_close(Fault):
    """Accept the first ``times`` clients, and close their links at once in an orderly way."""

    times: int = option(1)

    def arrival(self, number: int, tls: bool) -> Iterable[Step]:
        """Close."""
        return (Ending.CLOSE,) if number < self.times else ()


@dataclass(frozen=True)
class slow_accept(Fault):
    """Do not serve a client during its first ``seconds`` seconds, not even its TLS handshake."""

    seconds: float = option(1.0, maximum=DAY)

    def arrival(self, number: int, tls: bool) -> Iterable[Step]:
        """Wait."""
        return (float(self.seconds),)


@dataclass(frozen=True)
class hang_tls(Fault):
    """Never answer the TLS handshake of the first ``times`` clients; links without TLS are served as usual."""

    times: int = option(1)

    def arrival(self, number: int, tls: bool) -> Iterable[Step]:
        """Freeze the link before the handshake."""
        return (Ending.HALF_OPEN,) if tls and number < self.times else ()


@dataclass(frozen=True)
class wrong_certificate(Fault):
    """Serve TLS with another ``context``; ports without TLS are served as usual. Has no text form."""

    in_text: ClassVar[bool] = False
    context: ssl.SSLContext = dataclasses.field(repr=False)

    def certificate(self) -> ssl.SSLContext | None:
        """Return the context."""
        return self.context


@dataclass(frozen=True)
class reset(Fault):
    """Reset every link ``after`` seconds from its start."""

    after: float = option(0.0, maximum=DAY)

    def timed(self) -> tuple[float, Ending] | None:
        """Reset."""
        return self.after, Ending.RESET


@dataclass(frozen=True)
class half_open(Fault):
    """Stop reading and writing every link ``after`` seconds from its start, but keep it open.

    To the client this looks as if the peer's machine or the network were gone. What the simulator writes is lost.
    """

    after: float = option(0.0, maximum=DAY)

    def timed(self) -> tuple[float, Ending] | None:
        """Freeze."""
        return self.after, Ending.HALF_OPEN


@dataclass(frozen=True)
class unplug(Fault):
    """Unplug the whole simulator ``after`` so many seconds, for ``seconds`` seconds, and plug it in again.

    Serial lines hang up and their names vanish; TCP links are reset and ports refuse clients.
    """

    after: float = option(0.0, maximum=DAY)
    seconds: float = option(1.0, maximum=DAY)

    def outage(self) -> tuple[float, float] | None:
        """Return both."""
        return self.after, self.seconds
