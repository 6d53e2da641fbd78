"""What goes wrong between a program, the TecoRoute service and a PLC; part of the tree in :mod:`cnx.errors`.

::

    ConnectorError .............. CnxError
    ├── ConnectorRefusal ........ AccessDenied                  the service refused a login step
    │   ├── ConnectorUserError                                  ... for the user, the password or the application
    │   └── ConnectorPlcError                                   ... for the PLC
    ├── ConnectorConnectionError  ConnectError, ConnectionLost  the service cannot be reached, or the link ended
    ├── ConnectorLatencyError ... ConnectionLost                the service answered too slowly, or not at all
    └── ConnectorResponseError .. DeviceError                   the service answered a request with an error
"""

from __future__ import annotations

from cnx.errors import AccessDenied, CnxError, ConnectError, ConnectionLost, DeviceError

__all__ = [
    "ConnectorConnectionError",
    "ConnectorError",
    "ConnectorLatencyError",
    "ConnectorPlcError",
    "ConnectorRefusal",
    "ConnectorResponseError",
    "ConnectorUserError",
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
