"""A link with the service that is logged in."""

from __future__ import annotations

from typing import Any

from cnx.clients.tecoroute.client_errors import ConnectorConnectionError
from cnx.clients.tecoroute.client_login import Credentials, log_in
from cnx.clients.tecoroute.client_pace import Pace
from cnx.clients.tecoroute.protocol_http import Response, ResponseReader
from cnx.deadline import Deadline
from cnx.errors import Cancelled, CnxError, ProtocolError
from cnx.socket_connection import SocketConnection
from cnx.transports.transport import Transport

__all__ = ["Tunnel"]


class Tunnel(SocketConnection):
    """One TCP connection with the service, for one user and one PLC; connected means logged in.

    Args:
        credentials: who talks to which PLC.
        host, port: of the service.
        strict: a login step succeeds only with HTTP status 200.
        pace: gives out the turns to open.
        **settings: see :class:`~cnx.socket_connection.SocketConnection`.
    """

    def __init__(
        self, credentials: Credentials, host: str, port: int, *, strict: bool, pace: Pace, **settings: Any
    ) -> None:
        self._credentials = credentials
        self._strict = strict
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
        """Log in."""
        try:
            log_in(self._credentials, lambda step, request: self._ask(step, request, deadline), strict=self._strict)
        except ProtocolError as error:
            raise ConnectorConnectionError(f"{self.address} is no TecoRoute service: {error}") from error

    def _ask(self, step: str, request: bytes, deadline: Deadline) -> Response:
        """Return the answer to a login step."""
        try:
            deadline.check(f"asking for {step}")
            self.write(request, timeout=deadline.remaining())
            answer: Response = SocketConnection.receive(self, timeout=deadline.remaining())
        except Cancelled:
            raise
        except CnxError as error:
            kind = Cancelled if isinstance(error.__cause__, Cancelled) else ConnectorConnectionError
            raise kind(f"{self.address} gave no good answer to {step}: {error}") from error
        return answer
