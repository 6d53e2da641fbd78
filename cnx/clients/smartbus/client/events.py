"""The signals of a SmartBus client, and the errors of a registration and of a flow."""

from __future__ import annotations

from cnx.clients.smartbus.protocol.codes import Code, meaning
from cnx.errors import AccessDenied, ConnectError, DeviceError
from cnx.signals.subscriptions import Signal, SignalName

__all__ = ["AlreadyConnected", "BusSignals", "FlowFailed", "RegistrationRefused", "code_of", "refusal"]

RETRY_AFTER = 2.0
"""Seconds after which a client with the ids of another one may try again, as the vendor's library does."""


class BusSignals(Signal):
    """The signals of a SmartBus client, in addition to those of every connection."""

    CONNECT_FAILED = SignalName("connect-failed", "code", "meaning", "reason")
    """An attempt to connect failed. ``code``, its English ``meaning``, and ``reason``: the exception."""
    FLOW_ACKNOWLEDGED = SignalName("flow-acknowledged", "call", "ack", "message")
    """``call``, ``ack`` (1: started; -25: no answer in time; otherwise an error code) and ``message``."""
    FLOW_RESPONDED = SignalName("flow-responded", "call", "values")
    """A flow returned. ``call`` and ``values``."""
    FLOW_TIMED_OUT = SignalName("flow-timed-out", "call")
    """A flow did not return in time. ``call``."""
    FLOW_FAILED = SignalName("flow-failed", "call", "error")
    """A flow did not start, or its call was lost with the link. ``call`` and ``error``."""
    PEER_CONNECTED = SignalName("peer-connected", "peer")
    """Another client joined the bus, or was already there. ``peer``."""
    PEER_DISCONNECTED = SignalName("peer-disconnected", "peer")
    """Another client left the bus. ``peer``."""


class RegistrationRefused(AccessDenied):
    """The server refused to register this client, and would refuse it again.

    Attributes:
        code: the error code of the bus; see :func:`~cnx.clients.smartbus.meaning`.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[RegistrationRefused], tuple[str, int]]:
        return type(self), (str(self), self.code)


class AlreadyConnected(ConnectError):
    """A client with these ids is registered already; it may be this client's own last link."""

    code = Code.ALREADY_CONNECTED
    retry_after = RETRY_AFTER


class FlowFailed(DeviceError):
    """The server did not start a flow.

    Attributes:
        code: the error code of the bus; see :func:`~cnx.clients.smartbus.meaning`.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[FlowFailed], tuple[str, int]]:
        return type(self), (str(self), self.code)


def refusal(address: str, client: str, code: int) -> ConnectError:
    """Return the error for a registration of ``client`` that the server at ``address`` answered with ``code``."""
    text = f"{address} refused the registration of {client}: {meaning(code)} ({code})"
    if code == Code.ALREADY_CONNECTED:
        return AlreadyConnected(
            f"{text}; another client has these ids, or the server has not noticed the end of the last link"
        )
    return RegistrationRefused(f"{text}; check user, password and ids", code)


def code_of(error: BaseException) -> int:
    """Return the error code of the bus for a failed attempt to connect."""
    return getattr(error, "code", Code.CANNOT_CONNECT)
