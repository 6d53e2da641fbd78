"""Every error that cnx raises, one tree.

::

    CnxError
    ├── ConnectError ............ ConnectionError  an attempt to connect failed
    │   └── AccessDenied                           the peer answered, and refused: retrying is pointless
    ├── NotConnected ............ ConnectionError  there is no link now
    ├── ConnectionLost .......... ConnectionError  the link ended
    │   ├── PeerClosed                             ... because the peer closed it in an orderly way
    │   └── IncompleteRead ...... EOFError         ... before a read was complete; carries what had come
    ├── Cancelled ............... ConnectionError  disconnect() or teardown() ended the call
    ├── TornDown ................ RuntimeError     used after teardown()
    ├── TimedOut ................ TimeoutError     it took longer than the caller allows
    ├── LimitExceeded ........... ValueError       a bound of a buffer, queue or frame was passed
    ├── EncodingError ........... UnicodeError     bytes are not text in the expected encoding
    ├── ProtocolError ........... ValueError       the peer broke the rules of the protocol
    │   └── InvalidJson                            a frame is not JSON; carries the text
    └── DeviceError                                the device understood, and answered with an error

Each class is also the builtin beside it, so a program that knows nothing of cnx can catch
``ConnectionError`` or ``TimeoutError``. Wrong arguments are plain ``ValueError`` and ``TypeError``,
raised at the call before anything is opened or sent. Exceptions of the operating system and of
other libraries are translated where bytes enter and leave, and kept as ``__cause__``.
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
    """An attempt to connect failed; the message says to which address and at which step.

    Attributes:
        fatal: a new attempt cannot succeed without a change by a person.
        retry_after: seconds to wait before a new attempt, where the protocol asks for it.
    """

    fatal: bool = False
    retry_after: float | None = None


class AccessDenied(ConnectError):
    """The peer answered and refused this user, password, identity or right."""

    fatal = True


class NotConnected(CnxError, ConnectionError):
    """There is no link: not yet, not any more, or not at this moment."""


class ConnectionLost(CnxError, ConnectionError):
    """The link ended; the message tells the reason."""


class PeerClosed(ConnectionLost):
    """The link ended because the peer closed it, after everything that it had sent."""


class IncompleteRead(ConnectionLost, EOFError):
    """The link ended before a read was complete.

    Attributes:
        partial: the bytes that had come.
        expected: how many bytes were asked for, or ``None`` when the end was to be found by content.
    """

    def __init__(self, message: str, partial: bytes, expected: int | None = None) -> None:
        super().__init__(message)
        self.partial = partial
        self.expected = expected

    def __reduce__(self) -> tuple[type[IncompleteRead], tuple[str, bytes, int | None]]:
        return type(self), (str(self), self.partial, self.expected)


def because(error: BaseException | None) -> str:
    """Return the end of a message that something is not connected: why, unless that says no more than the message.

    Otherwise the message would grow with every alarm that is raised with it.
    """
    return "" if error is None or isinstance(error, NotConnected) else f": {error}"


def as_failure(reason: BaseException) -> BaseException:
    """Return ``reason`` as what fails an attempt to connect, of which :meth:`raise_alarm` takes any exception."""
    if isinstance(reason, (CnxError, OSError)):
        return reason
    failure = ConnectError(f"the attempt ended by an alarm: {reason!r}")
    failure.__cause__ = reason
    return failure


class Cancelled(CnxError, ConnectionError):
    """The call was ended from elsewhere: ``disconnect()``, ``teardown()`` or the end of a ``with`` block."""


class TornDown(CnxError, RuntimeError):
    """Something was asked of an object after its ``teardown()``, which is final."""


class TimedOut(CnxError, TimeoutError):
    """The call took longer than its timeout; what had been received is kept."""


class LimitExceeded(CnxError, ValueError):
    """A bound was passed; nothing was cut and nothing was lost."""


class EncodingError(CnxError, UnicodeError):
    """Bytes that were received are not text in the encoding of the connection."""


class ProtocolError(CnxError, ValueError):
    """The peer sent something that its protocol forbids."""


class InvalidJson(ProtocolError):
    """A frame is not valid JSON.

    Attributes:
        text: the frame, whole.
    """

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text

    def __reduce__(self) -> tuple[type[InvalidJson], tuple[str, str]]:
        return type(self), (str(self), self.text)


class DeviceError(CnxError):
    """The device received the request and answered that it will not or cannot do it."""
