"""How messages of the controller reach the subscribers of their kind."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from cnx.clients.m2.client.events import SIGNALS, M2Signals
from cnx.clients.m2.protocol.messages import USUAL_LINES, BrokenMessage, kind_of
from cnx.connections.delivery import Audience, Delivery
from cnx.framing import Framing
from cnx.signals.emitter import Outlet, Plan
from cnx.signals.subscriptions import ANY, connections, emit

if TYPE_CHECKING:
    from cnx.clients.m2.client.client import M2Client

__all__ = ["M2Delivery", "MessageRate"]

log = logging.getLogger(__name__)

NOTHING_USUAL: tuple[bytes, Callable[[], object]] = b"", lambda: None

RATE_PERIOD = 2.0
"""Seconds over which messages are counted at least."""


class MessageRate:
    """Messages per second, over periods of at least two seconds. Time is passed in."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._count = 0

    def count(self, messages: int, now: float) -> int | None:
        """Count messages; return the rate, rounded down, when a period has ended."""
        self._count += messages
        elapsed = now - self._since
        if elapsed < RATE_PERIOD:
            return None
        rate = math.floor(self._count / elapsed)
        self._since, self._count = now, 0
        return rate


class M2Delivery(Delivery):
    """Tells messages by kind too, and what is broken apart from them."""

    signals = Delivery.signals | set(SIGNALS.values())

    def __init__(self, connection: M2Client, framing: Framing | None, limit: int) -> None:
        super().__init__(connection, framing, limit)
        outlets = {signal: Outlet(connection, signal, "message", refreshed=True) for signal in SIGNALS.values()}
        self._outlets = {kind: outlets[signal] for kind, signal in SIGNALS.items()}
        self._rate = MessageRate(monotonic()) if connection.measures_rate else None
        self._plain = self._rate is None  # nothing but whole lines has come, and nobody measures

    def audience(self) -> Audience | None:
        """Return who may be subscribed, as :meth:`deliver` looks for itself; ``None`` if nobody wants what comes."""
        return self._audience if self._consumes else super().audience()

    def deliver(self, data: bytes, audience: Audience | None = None) -> None:
        """Tell ``data`` and the messages in it, unless they are just the usual and nobody else wants them."""
        connection: Any = self._connection()
        usual, on_usual = NOTHING_USUAL if connection is None else connection.usual
        if data == usual and self._plain and self._own not in connections and ANY not in connections:
            self.messages += USUAL_LINES
            on_usual()
        else:
            super().deliver(data, super().audience())
            self._plain = self._rate is None and not len(self._partial)

    def stop(self) -> None:
        """Tell nothing more after the message that is being told."""
        super().stop()
        for outlet in self._outlets.values():
            outlet.stop()

    def refresh(self) -> None:
        """Let a change of subscribers take effect on what is being told."""
        super().refresh()
        for outlet in self._outlets.values():
            outlet.refresh()

    def _tell(self, messages: list[Any], known: Plan | None = None) -> None:
        if BrokenMessage in map(type, messages):
            messages = self._report_broken(messages)
        runs = [(kind, list(run)) for kind, run in itertools.groupby(messages, kind_of)] if self._by_kind() else []
        count = len(messages)
        super()._tell(messages, known)
        for kind, run in runs:
            if self._stopped:
                return
            self._outlets[kind].emit_each(run)
        if self._rate is not None:
            self._measure(self._rate, count)

    def _by_kind(self) -> bool:
        """Whether anybody is subscribed to messages of a kind."""
        if self._own not in connections and ANY not in connections:  # asked for every message, so the short way first
            return False
        return any(outlet.wanted() for outlet in self._outlets.values())

    def _report_broken(self, messages: list[Any]) -> list[Any]:
        """Return the messages that are none of the broken ones, which are told apart."""
        connection = self._connection()
        for message in messages:
            if isinstance(message, BrokenMessage) and connection is not None and not self._stopped:
                log.warning("%s: skipped a broken message: %s", connection.name, message.reason)
                emit(connection, M2Signals.BROKEN, reason=message.reason)
        return [message for message in messages if not isinstance(message, BrokenMessage)]

    def _measure(self, rate: MessageRate, count: int) -> None:
        connection: Any = self._connection()
        measured = rate.count(count, monotonic())
        if measured is not None and connection is not None:
            connection.message_rate = measured
            log.debug("%s: %d messages per second", connection.name, measured)
