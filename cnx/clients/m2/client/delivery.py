"""Pass the messages of the controller on to subscribers, also by their kind."""

from __future__ import annotations

import itertools
import logging
import math
from time import monotonic
from typing import TYPE_CHECKING, Any

from cnx.clients.m2.client.events import SIGNALS, M2Signals
from cnx.clients.m2.protocol.messages import BrokenMessage, kind_of
from cnx.connections.delivery import Delivery
from cnx.framing import Framing
from cnx.signals import Emitter, emit

if TYPE_CHECKING:
    from cnx.clients.m2.client.client import M2Client

__all__ = ["M2Delivery", "MessageRate"]

log = logging.getLogger(__name__)

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
    """Emits messages by kind, too; reports broken ones apart from the others; measures the rate."""

    def __init__(self, connection: M2Client, framing: Framing | None, limit: int) -> None:
        super().__init__(connection, framing, limit)
        by_signal = {signal: Emitter(connection, signal, "message") for signal in set(SIGNALS.values())}
        self._emitters = tuple(by_signal.values())
        self._emitter_of = {kind: by_signal[signal] for kind, signal in SIGNALS.items()}
        self._rate = MessageRate(monotonic()) if connection.measures_rate else None

    def wanted(self) -> bool:
        """Return whether somebody wants what arrives: all of it, or messages of a kind."""
        return super().wanted() or self._by_kind()

    def stop(self) -> None:
        """Emit nothing from now on, even if messages are being emitted."""
        super().stop()
        for emitter in self._emitters:
            emitter.stop()

    def _emit_messages(self, messages: list[Any]) -> None:
        count = len(messages)
        if BrokenMessage in map(type, messages):
            messages = self._report_broken(messages)
        by_kind = self._by_kind()  # before handlers run, which may subscribe: only to the next messages
        runs = [(kind, list(run)) for kind, run in itertools.groupby(messages, kind_of)] if by_kind else []
        super()._emit_messages(messages)
        for kind, run in runs:
            self._emitter_of[kind].emit_each(run)
        if self._rate is not None:
            self._measure(self._rate, count)

    def _by_kind(self) -> bool:
        """Return whether anybody is subscribed to messages of a kind."""
        return any(emitter.has_subscribers() for emitter in self._emitters)

    def _report_broken(self, messages: list[Any]) -> list[Any]:
        """Report the broken messages and return the others."""
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
