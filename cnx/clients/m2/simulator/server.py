"""A server that behaves as the M2 cell controller does: two ports, one client each."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from cnx.buffer import ReceiveBuffer
from cnx.clients.m2.protocol.enums import CommandStatus
from cnx.clients.m2.protocol.messages import (
    COMMAND_PORT,
    TELEMETRY_PORT,
    BrokenMessage,
    M2Lines,
    encode,
)
from cnx.clients.m2.simulator.mirror import Message
from cnx.clients.m2.simulator.model import TURN, CellModel
from cnx.errors import LimitExceeded, TimedOut
from cnx.logs import log_of_peer, logger
from cnx.simulation import Session, Simulator

__all__ = ["M2Simulator"]

log = logger(__name__)

REBOOT_DELAY = 0.5
"""Seconds between the answer to ``rebootController`` and the end of both connections; that of the mock server."""

RESULTS = (CommandStatus.SUCCESS.value, CommandStatus.FAIL.value)

TAKE_OVER = 0.1
"""Seconds to wait for the end of the last client when the next one is already there."""


class M2Simulator(Simulator):
    """The M2 cell controller: commands and events on one port, telemetry on the other, one client each.

    Commands change power, loops, positions, forces and faults of a model that changes with time. A second client of a
    port is disconnected at once. After ``rebootController`` the simulator stops, as the mock server of ``ts_m2com``
    does; when it is started again, the cell is in its initial state.

    Args:
        telemetry_period: seconds between two rounds of telemetry, and between two checks for events.
        result_delay: seconds between ``ack`` and the result of a command.
        seed: seed of the noise in the telemetry.
        strict: refuse a command whose sequence id does not follow the one before.
        greets_all: send the welcome messages to every client, not only to the first.
    """

    def __init__(
        self,
        *,
        telemetry_period: float = TURN,
        result_delay: float = 0.0,
        seed: int = 0,
        strict: bool = False,
        greets_all: bool = False,
    ) -> None:
        if telemetry_period <= 0 or result_delay < 0:
            raise ValueError("telemetry_period must be more than 0 seconds, and result_delay at least 0")
        super().__init__("M2 simulator")
        self._period = telemetry_period
        self._result_delay = result_delay
        self._lines = M2Lines()
        self._new_model = functools.partial(CellModel, seed=seed, strict=strict, greets_all=greets_all)
        self._model = self._new_model(time.monotonic())
        self._using = threading.Lock()
        self._command_url = self._telemetry_url = ""
        self._occupied = {"": threading.Lock()}

    def listen_ports(
        self, host: str = "127.0.0.1", command_port: int = COMMAND_PORT, telemetry_port: int = TELEMETRY_PORT
    ) -> tuple[int, int]:
        """Listen on both ports (0: any free one) and return their numbers.

        Raises:
            ValueError: the simulator is already listening.
            OSError: a port cannot be used.
        """
        if self._command_url:
            raise ValueError(f"the simulator is already listening on {self._command_url} and {self._telemetry_url}")
        self._command_url = self.listen_tcp(host, command_port)
        self._telemetry_url = self.listen_tcp(host, telemetry_port)
        self._occupied = {url: threading.Lock() for url in self.urls}
        return _port(self._command_url), _port(self._telemetry_url)

    def raise_faults(self, *codes: int) -> None:
        """Raise faults or warnings by their codes, such as 6054.

        Raises:
            ValueError: there is no such code.
        """
        with self._using:
            self._model.raise_faults(*codes)

    def serve(self, session: Session) -> None:
        """Serve the client of one port; disconnect it if the port has one already."""
        port = self._occupied[session.url]
        if not port.acquire(timeout=TAKE_OVER):
            log.info("%s: %s is taken; closed %s", self.name, session.url, session.address)
            return
        try:
            if session.url == self._command_url:
                self._serve_commands(session)
            else:
                self._serve_telemetry(session)
        except LimitExceeded as error:
            log.warning("%s: closed %s: %s", self.name, session.address, error)
        finally:
            port.release()

    def _serve_commands(self, session: Session) -> None:
        buffer = ReceiveBuffer()
        with self._using:
            greeting = self._model.greet()
        send(session, greeting)
        while self._receive(session, buffer, time.monotonic() + self._period):
            for message in self._messages(buffer):
                self._answer(session, message)
            with self._using:
                self._model.advance(time.monotonic())
                events = self._model.cell.take_events()
            send(session, events)

    def _answer(self, session: Session, message: Any) -> None:
        with self._using:
            self._model.advance(time.monotonic())
            answer = self._model.answer(message)
            rebooting = self._model.cell.rebooting
        if self._result_delay and answer and answer[-1]["id"] in RESULTS:
            send(session, answer[:-1])
            session.wait(self._result_delay)
            answer = answer[-1:]
        send(session, answer)
        if rebooting:
            session.wait(REBOOT_DELAY)
            self._model = self._new_model(time.monotonic())
            self.stop()

    def _serve_telemetry(self, session: Session) -> None:
        buffer = ReceiveBuffer()
        due = time.monotonic()
        while self._receive(session, buffer, due):
            with self._using:
                for message in self._messages(buffer):
                    self._model.take_telemetry(message)
            now = time.monotonic()
            if now < due:
                continue
            due = max(due + self._period, now)
            with self._using:
                self._model.advance(now)
                telemetry = self._model.telemetry()
            send(session, telemetry)

    def _receive(self, session: Session, buffer: ReceiveBuffer, until: float) -> bool:
        """Wait for bytes until a time of the monotonic clock; return ``False`` at the end of the link."""
        try:
            data = session.read(timeout=max(0.0, until - time.monotonic()))
        except TimedOut:
            return True
        buffer.append(data)
        return bool(data)

    def _messages(self, buffer: ReceiveBuffer) -> list[Any]:
        """Take the messages that have arrived, without the broken ones, which the mock server ignores too."""
        whole = []
        while messages := self._lines.take_all(buffer):
            for message in messages:
                if isinstance(message, BrokenMessage):
                    log_of_peer(log, logging.INFO, "%s: ignored a line: %s", self.name, message.reason)
                else:
                    whole.append(message)
        return whole


def send(session: Session, messages: Iterable[Message]) -> None:
    """Write messages as one piece, so that they are not mixed with others."""
    data = b"".join(map(encode, messages))
    if data:
        session.write(data)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
