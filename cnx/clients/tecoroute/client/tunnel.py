"""A link with the service that is logged in, and its session."""

from __future__ import annotations

import logging
from typing import Any

from cnx.clients.tecoroute.client.errors import ConnectorConnectionError, ConnectorNotConnected
from cnx.clients.tecoroute.client.login import Credentials, log_in
from cnx.clients.tecoroute.client.pace import Pace
from cnx.clients.tecoroute.client.rules import Rules
from cnx.clients.tecoroute.client.session import Session
from cnx.clients.tecoroute.client.statistics import Statistics
from cnx.clients.tecoroute.protocol.http import Response, ResponseReader
from cnx.connections.sockets import SocketConnection
from cnx.deadline import Deadline, checked_timeout
from cnx.errors import Cancelled, CnxError, ProtocolError, because
from cnx.transports.transport import Transport

__all__ = ["Tunnel"]

log = logging.getLogger(__name__)

HIDDEN = 200
"""Proofs of the password that are kept out of the history, the latest ones; it does not hold as many by default."""


class Tunnel(SocketConnection):
    """One TCP connection with the service, for one user and one PLC; connected means logged in.

    Attributes:
        statistics: what was counted, over all links.

    Args:
        credentials: who talks to which PLC.
        rules: how the service is treated.
        host, port: of the service.
        strict: a login step succeeds only with HTTP status 200.
        step_timeout: seconds for each step of the login.
        pace: gives out the turns to open.
        **settings: see :class:`~cnx.connections.sockets.SocketConnection`.
    """

    _session: Session | None  # of the last link that was told of
    _prepared: Session | None  # of the link that is being prepared

    def __init__(
        self,
        credentials: Credentials,
        rules: Rules,
        host: str,
        port: int,
        *,
        strict: bool,
        step_timeout: float | None,
        pace: Pace,
        **settings: Any,
    ) -> None:
        self.statistics = Statistics()
        self._credentials = credentials
        self._rules = rules
        self._strict = strict
        self._step_timeout = checked_timeout(step_timeout, "step_timeout")
        self._pace = pace
        super().__init__(host, port, **{"framing": ResponseReader(), **settings})

    def open_transport(self, deadline: Deadline) -> Transport:
        """Open the TCP connection, when it is this one's turn."""
        self._pace.wait(deadline)
        try:
            return super().open_transport(deadline)
        except Cancelled:
            raise
        except CnxError as error:
            raise ConnectorConnectionError(str(error)) from error

    def prepare(self, deadline: Deadline) -> None:
        """Log in, and prepare a session."""
        try:
            log_in(
                self._credentials,
                lambda step, request: self._ask(step, request, deadline),
                strict=self._strict,
                hide=self._hide,
            )
        except ProtocolError as error:
            raise ConnectorConnectionError(f"{self.address} is no TecoRoute service: {error}") from error
        self._prepared = Session(self._current(), self._rules, self.statistics)

    def announce(self) -> None:
        """Begin the session: the link will be told of, and so will its end, or neither."""
        session, self._prepared = self._prepared, None
        if session is None:
            super().announce()
            return
        if self._session is not None and self._session.drop_unread():
            log.warning("%s: what came over the last link, and was not received, is dropped", self.name)
        self._session = session
        try:
            super().announce()
        finally:
            if not session.link.live:
                session.end(session.link.reason or Cancelled("the attempt to connect was interrupted"))

    def release(self, reason: BaseException, timeout: float) -> None:
        """End the link."""
        super().release(reason, 0.0)
        if self._session is not None:
            self._session.wake_senders()
        if timeout:
            super().release(reason, timeout)

    def on_disconnected(self, reason: BaseException) -> None:
        """Wake whoever waits for an answer."""
        if self._session is not None:
            self._session.end(reason)

    def _hide(self, secret: bytes) -> None:
        """Keep a proof of the password out of the history: with its salt, passwords could be tried out."""
        self.secrets = (*self.secrets, secret)[-HIDDEN:]

    def _ask(self, step: str, request: bytes, deadline: Deadline) -> Response:
        """Return the answer to a login step."""
        patience = Deadline(self._step_timeout)  # what is left of the attempt bounds all that the link does, too
        try:
            deadline.check(f"asking for {step}")
            self.write(request, timeout=patience.remaining())
            answer: Response = SocketConnection.receive(self, timeout=patience.remaining())
        except Cancelled:
            raise
        except CnxError as error:
            kind = Cancelled if isinstance(error.__cause__, Cancelled) else ConnectorConnectionError
            raise kind(f"{self.address} gave no good answer to {step}: {error}") from error
        return answer

    def _let_go(self) -> None:
        super()._let_go()
        self._session = self._prepared = None

    def _up(self) -> Session:
        """Return the present session, or the last one, which says why it ended."""
        if self._session is None:
            raise ConnectorNotConnected(f"{self.name} is not connected{because(self.last_error)}")
        return self._session
