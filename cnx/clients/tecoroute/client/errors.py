"""Errors of the TecoRoute client; part of the tree in :mod:`cnx.errors`.

::

    ConnectorError .............. CnxError
    ├── ConnectorRefusal ........ AccessDenied                  the service refused a login step
    │   ├── ConnectorUserError                                  ... because of the user, password or application
    │   └── ConnectorPlcError                                   ... because of the PLC
    ├── ConnectorConnectionError  ConnectError, ConnectionLost  the service cannot be reached, or the link ended
    │   └── ConnectorNotConnected NotConnected                  ... on request, or there was none
    ├── ConnectorLatencyError ... ConnectionLost                the service answered too slowly, or not at all
    └── ConnectorResponseError .. DeviceError                   the service answered a request with an error
"""

from __future__ import annotations

from cnx.errors import (
    AccessDenied,
    Cancelled,
    CnxError,
    ConnectError,
    ConnectionLost,
    DeviceError,
    NotConnected,
)

__all__ = [
    "ConnectorConnectionError",
    "ConnectorError",
    "ConnectorLatencyError",
    "ConnectorNotConnected",
    "ConnectorPlcError",
    "ConnectorRefusal",
    "ConnectorResponseError",
    "ConnectorUserError",
    "raise_if_ended",
]

REFUSED_PAUSE = 600.0
"""Seconds before a refused user or PLC is tried again, as in ``_manager.py`` of the package ``tecoroute-manager``."""


class ConnectorError(CnxError):
    """Base class of the errors of a connector."""


class ConnectorRefusal(ConnectorError, AccessDenied):
    """The service refused a login step; a manager gives up or, with ``persist=True``, waits 600 s.

    Attributes:
        error_code: the answer of the service, without trailing white space.
    """

    retry_after = REFUSED_PAUSE

    def __init__(self, message: str, error_code: str) -> None:
        super().__init__(message)
        self.error_code = error_code

    def __reduce__(self) -> tuple[type[ConnectorRefusal], tuple[str, str]]:
        return type(self), (str(self), self.error_code)


class ConnectorUserError(ConnectorRefusal):
    """The service refused the user, the password or the application."""


class ConnectorPlcError(ConnectorRefusal):
    """The service refused the PLC: it does not exist, is off line, or the user has no right to it."""


class ConnectorConnectionError(ConnectorError, ConnectError, ConnectionLost):
    """The service cannot be reached, is not a TecoRoute service, or the link with it ended.

    Attributes:
        maybe_sent: the link ended while a message was being written, which may therefore have been sent.
    """

    maybe_sent: bool = False


class ConnectorNotConnected(ConnectorConnectionError, NotConnected):
    """There is no link: it is not connected yet, or was disconnected on request."""


class ConnectorLatencyError(ConnectorError, ConnectionLost):
    """The service answered too slowly several times in a row, or not at all for too long, so the link was ended."""


class ConnectorResponseError(ConnectorError, DeviceError):
    """The service answered a request with an error instead of data; the link stays up.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[ConnectorResponseError], tuple[str, int]]:
        return type(self), (str(self), self.status)


def raise_if_ended(address: str, reason: BaseException | None) -> None:
    """Raise the error for a call on a link that has ended with ``reason``; do nothing if ``reason`` is ``None``."""
    if reason is None:
        return
    kind: type[ConnectorError] = ConnectorConnectionError
    if isinstance(reason, ConnectorLatencyError):
        kind = ConnectorLatencyError
    elif isinstance(reason, (Cancelled, NotConnected)):
        kind = ConnectorNotConnected
    # Repeat no reason that says only this, or the message would grow each time an error is used as the next reason.
    why = "" if isinstance(reason, ConnectorError) and " is not connected" in str(reason) else f": {reason}"
    raise kind(f"{address} is not connected{why}") from reason
