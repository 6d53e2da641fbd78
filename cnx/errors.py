"""The errors that cnx raises, as one tree.

::

    CnxError
    ├── ConnectError ............ ConnectionError  an attempt to connect failed
    │   ├── AccessDenied                           the peer refused this user; retrying is pointless
    │   └── ConnectTimedOut ..... TimeoutError     ... or it took too long; also a TimedOut
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

import copy

__all__ = [
    "AccessDenied",
    "Cancelled",
    "CnxError",
    "ConnectError",
    "ConnectTimedOut",
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
    """The link ended; the message has the reason.

    Attributes:
        fatal: another link would be lost as well until a person has changed something.
    """

    fatal: bool = False


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


def fatal(error: ConnectError) -> ConnectError:
    """Return ``error``, marked as one that a new attempt cannot cure."""
    error.fatal = True
    return error


def about(subject: str, text: str) -> str:
    """Return ``text`` with ``subject``, such as an address, in front, unless the text names it already."""
    return text if subject in text else f"{subject}: {text}"


def not_connected(where: str, reason: BaseException | None, state: str = "connected") -> str:
    """Return the text which says that ``where`` is not in a state, and why; it names ``where`` once.

    A reason that says no more than that is left out, as the message would grow with every alarm that is raised with the
    previous one.
    """
    text = "" if reason is None or isinstance(reason, NotConnected) else str(reason)
    if not text:
        return f"{where} is not {state}"
    return f"not {state}: {text}" if where in text else f"{where} is not {state}: {text}"


def text_of(error: BaseException) -> str:
    """Return the text of an exception, which may be of a class whose ``__str__`` raises."""
    try:
        return str(error)
    except Exception as failure:
        return f"{type(error).__name__}, whose text cannot be made: {type(failure).__name__}"


def with_text(reason: BaseException) -> BaseException:
    """Return ``reason``, or a ``ConnectionLost`` in its place if the text of ``reason`` cannot be made.

    Every reason that comes from code of users passes here once, so that later code may put it into messages.
    """
    try:
        str(reason)
    except Exception:
        stand_in = ConnectionLost(text_of(reason))
        stand_in.__cause__ = reason
        return stand_in
    return reason


def fresh(stored: BaseException) -> BaseException:
    """Return a new exception like ``stored``, with that as its cause, to raise it.

    An exception that is kept must not be raised itself: each raising makes its traceback longer, which several threads
    would share. A class that cannot be copied becomes a ``ConnectError``.
    """
    try:
        new = copy.copy(stored)
    except Exception:
        new = ConnectError(text_of(stored))
    if new is stored or not isinstance(new, BaseException):
        new = ConnectError(text_of(stored))
    new.__cause__ = stored
    return new


def as_failure(reason: BaseException, address: str = "") -> CnxError:
    """Return a new error of an attempt to connect that failed with ``reason``, which may be any exception.

    Args:
        reason: what failed, such as an ``OSError`` or what was given to ``raise_alarm``.
        address: where the attempt led to, for an ``OSError``.
    """
    failure: CnxError
    if isinstance(reason, CnxError):
        new = fresh(reason)
        assert isinstance(new, CnxError)
        return new
    if isinstance(reason, OSError):
        kind = TimedOut if isinstance(reason, TimeoutError) else ConnectError
        where = f"cannot connect to {address}: " if address else ""
        failure = kind(f"{where}{reason.strerror or text_of(reason) or type(reason).__name__}")
    else:
        failure = ConnectError(f"the attempt ended by an alarm: {type(reason).__name__}: {text_of(reason)}")
    failure.__cause__ = reason
    return failure


class Cancelled(CnxError, ConnectionError):
    """Another call ended this one: ``disconnect()``, ``teardown()`` or the end of a ``with`` block."""


class TornDown(CnxError, RuntimeError):
    """The object was used after its ``teardown()``, which is final."""


class TimedOut(CnxError, TimeoutError):
    """The call took longer than its timeout; the bytes received so far are kept."""


class ConnectTimedOut(ConnectError, TimedOut):
    """An attempt to connect took too long; a ``ConnectError`` and a ``TimeoutError``."""


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
