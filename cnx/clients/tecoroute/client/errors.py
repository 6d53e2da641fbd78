"""What goes wrong between a program, the TecoRoute service and a PLC; part of the tree in :mod:`cnx.errors`.

::

    ConnectorError .............. CnxError
    ├── ConnectorRefusal ........ AccessDenied                  the service refused a login step
    │   ├── ConnectorUserError                                  ... for the user, the password or the application
    │   └── ConnectorPlcError                                   ... for the PLC
    ├── ConnectorConnectionError  ConnectError, ConnectionLost  the service cannot be reached, or the link ended
    │   └── ConnectorNotConnected NotConnected                  ... because it was asked to, or there was none
    ├── ConnectorLatencyError ... ConnectionLost                the service answered too slowly, or not at all
    └── ConnectorResponseError .. DeviceError                   the service answered a request with an error
"""

from __future__ import annotations

from cnx.errors import AccessDenied, Cancelled, CnxError, ConnectError, ConnectionLost, DeviceError, NotConnected

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
"""Seconds before a refused user or PLC is tried again; the package ``tecoroute-manager`` keeps this pause."""


class ConnectorError(CnxError):
    """Root of the errors of a connector."""


class ConnectorRefusal(ConnectorError, AccessDenied):
    """The service refused a login step; a manager gives up, or waits 600 s if it is told to persist.

    Attributes:
        error_code: what the service said.
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
    """The service refused the PLC: there is none of that name, it is offline, or the user may not use it."""


class ConnectorConnectionError(ConnectorError, ConnectError, ConnectionLost):
    """The service cannot be reached, does not behave like one, or the link with it ended.

    Attributes:
        maybe_sent: it ended while a message was written, so that one may have been sent.
    """

    maybe_sent: bool = False


class ConnectorNotConnected(ConnectorConnectionError, NotConnected):
    """There is no link: not yet, or not any more since it was asked to end."""


class ConnectorLatencyError(ConnectorError, ConnectionLost):
    """The service answered too slowly several times in a row, or not at all for too long; the link was ended."""


class ConnectorResponseError(ConnectorError, DeviceError):
    """The service answered a request with an error instead of data; the link goes on.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[ConnectorResponseError], tuple[str, int]]:
        return type(self), (str(self), self.status)


def raise_if_ended(address: str, reason: BaseException | None) -> None:
    """Raise the error for whoever uses a link that ended; ``reason`` is ``None`` while it has not."""
    if reason is None:
        return
    kind: type[ConnectorError] = ConnectorConnectionError
    if isinstance(reason, ConnectorLatencyError):
        kind = ConnectorLatencyError
    elif isinstance(reason, (Cancelled, NotConnected)):
        kind = ConnectorNotConnected
    why = "" if isinstance(reason, ConnectorError) and " is not connected" in str(reason) else f": {reason}"
    raise kind(f"{address} is not connected{why}") from reason  # which does not grow with every alarm raised with it
