"""The errors that cnx raises, as one tree.

::

    CnxError
    ├── ConnectError ............ ConnectionError  an attempt to connect failed
    │   └── AccessDenied                           the peer refused this user; retrying is pointless
    ├── NotConnected ............ ConnectionError  there is no link now
    ├── ConnectionLost .......... ConnectionError  the link ended
    │   ├── PeerClosed                             ... because the peer closed it in an orderly way
    │   └── IncompleteRead ...... EOFError         ... before a read was complete; carries the bytes so far
    ├── Cancelled ............... ConnectionError  disconnect() or teardown() ended the call
    ├── TornDown ................ RuntimeError     used after teardown()
    ├── TimedOut ................ TimeoutError     the call took longer than its timeout
    ├── LimitExceeded ........... ValueError       a bound of a buffer, queue or frame was passed
    ├── EncodingError ........... UnicodeError     bytes are not text in the expected encoding
    ├── ProtocolError ........... ValueError       the peer broke the rules of the protocol
    │   └── InvalidJson                            a frame is not JSON; carries the text
    └── DeviceError                                the device understood, and reported an error

Each class is also the builtin beside it, so a program can catch ``ConnectionError`` or
``TimeoutError`` without importing cnx. Invalid arguments are plain ``ValueError`` and ``TypeError``,
raised before anything is opened or sent. Exceptions of the operating system and of other libraries
are translated where bytes enter and leave cnx, and kept as ``__cause__``.
"""

from __future__ import annotations

__all__ = [
    "AccessDenied",
    "Cancelled",
    "CnxError",
    "ConnectError",
    "ConnectionLost",
    "DeviceError",
    "EncodingError",
    "IncompleteRead",
    "InvalidJson",
    "LimitExceeded",
    "NotConnected",
    "PeerClosed",
    "ProtocolError",
    "TimedOut",
    "TornDown",
]


class CnxError(Exception):
    """Root of all errors of cnx."""


class ConnectError(CnxError, ConnectionError):
    """An attempt to connect failed; the message has the address and the step.

    Attributes:
        fatal: a new attempt cannot succeed until a person has changed something.
        retry_after: seconds to wait before a new attempt, if the peer asks for it.
    """

    fatal: bool = False
    retry_after: float | None = None


class AccessDenied(ConnectError):
    """The peer refused this user, password, identity or permission."""

    fatal = True


class NotConnected(CnxError, ConnectionError):
    """There is no link: not yet, or not any more."""


class ConnectionLost(CnxError, ConnectionError):
    """The link ended; the message has the reason."""


class PeerClosed(ConnectionLost):
    """The link ended because the peer closed it, after everything that it had sent."""


class IncompleteRead(ConnectionLost, EOFError):
    """The link ended before a read was complete.

    Attributes:
        partial: the bytes that had arrived.
        expected: how many bytes were asked for; ``None`` if the end is found by content, as for a line.
    """

    def __init__(self, message: str, partial: bytes, expected: int | None = None) -> None:
        super().__init__(message)
        self.partial = partial
        self.expected = expected

    def __reduce__(self) -> tuple[type[IncompleteRead], tuple[str, bytes, int | None]]:
        return type(self), (str(self), self.partial, self.expected)


def because(error: BaseException | None) -> str:
    """Return the reason for the end of a "not connected" message; nothing if the reason only says the same.

    Without that exception the message would grow with every alarm that is raised with the previous one.
    """
    return "" if error is None or isinstance(error, NotConnected) else f": {error}"


def as_failure(reason: BaseException) -> BaseException:
    """Return ``reason``, which may be any exception given to ``raise_alarm``, as the error of an attempt to connect."""
    if isinstance(reason, (CnxError, OSError)):
        return reason
    failure = ConnectError(f"the attempt ended by an alarm: {reason!r}")
    failure.__cause__ = reason
    return failure


class Cancelled(CnxError, ConnectionError):
    """Another call ended this one: ``disconnect()``, ``teardown()`` or the end of a ``with`` block."""


class TornDown(CnxError, RuntimeError):
    """The object was used after its ``teardown()``, which is final."""


class TimedOut(CnxError, TimeoutError):
    """The call took longer than its timeout; the bytes received so far are kept."""


class LimitExceeded(CnxError, ValueError):
    """A bound of a buffer, queue or frame was passed; the message says whether anything was dropped."""


class EncodingError(CnxError, UnicodeError):
    """Bytes that were received are not text in the encoding of the connection."""


class ProtocolError(CnxError, ValueError):
    """The peer sent something that the protocol does not allow."""


class InvalidJson(ProtocolError):
    """A frame is not valid JSON.

    Attributes:
        text: the complete frame.
    """

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text

    def __reduce__(self) -> tuple[type[InvalidJson], tuple[str, str]]:
        return type(self), (str(self), self.text)


class DeviceError(CnxError):
    """The device received the request and reported that it will not or cannot carry it out."""
