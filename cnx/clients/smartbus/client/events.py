"""What a SmartBus client tells, and the errors with which it refuses or is refused."""

from __future__ import annotations

from cnx.clients.smartbus.protocol.codes import Code, meaning
from cnx.errors import AccessDenied, ConnectError, DeviceError
from cnx.signals.subscriptions import Signal

__all__ = ["AlreadyConnected", "BusSignals", "FlowFailed", "RegistrationRefused"]

RETRY_AFTER = 2.0


class BusSignals(Signal):
    """Signals of a SmartBus client beyond those of every connection."""

    CONNECT_FAILED = "connect-failed"
    """An attempt failed. ``code``, its English ``meaning``, and ``reason``: the exception."""
    FLOW_ACKNOWLEDGED = "flow-acknowledged"
    """``call``, ``ack`` (1 started, -25 no answer in time, else the code of an error) and ``message``."""
    FLOW_RESPONDED = "flow-responded"
    """A flow returned. ``call`` and ``values``."""
    FLOW_TIMED_OUT = "flow-timed-out"
    """A flow did not return in time. ``call``."""
    FLOW_FAILED = "flow-failed"
    """A flow did not start, or its call was lost with the link. ``call`` and ``error``."""
    PEER_CONNECTED = "peer-connected"
    """Another client came to the bus, or turned out to be there. ``peer``."""
    PEER_DISCONNECTED = "peer-disconnected"
    """Another client left the bus. ``peer``."""


class RegistrationRefused(AccessDenied):
    """The server refused this client; a new attempt would be refused too.

    Attributes:
        code: why.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[RegistrationRefused], tuple[str, int]]:
        return type(self), (str(self), self.code)


class AlreadyConnected(ConnectError):
    """The server knows a client with these ids that it takes for alive; it may be our own last link."""

    code = Code.ALREADY_CONNECTED
    retry_after = RETRY_AFTER


class FlowFailed(DeviceError):
    """The server did not start a flow.

    Attributes:
        code: why.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[FlowFailed], tuple[str, int]]:
        return type(self), (str(self), self.code)


def refusal(address: str, who: str, code: int) -> ConnectError:
    """Return the error for a registration that was answered with ``code``."""
    text = f"{address} refused the registration of {who}: {meaning(code)} ({code})"
    if code == Code.ALREADY_CONNECTED:
        return AlreadyConnected(
            f"{text}; another client has these ids, or the server has not noticed the last one's end"
        )
    return RegistrationRefused(f"{text}; check user, password and ids", code)


def code_of(error: BaseException | None) -> int:
    """Return the code of the bus for an error of an attempt to connect."""
    return getattr(error, "code", Code.CANNOT_CONNECT)
