"""Doctor: finds out step by step why an address cannot be used."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from cnx.connections.connection import Connection
from cnx.connections.sockets import SocketConnection
from cnx.connections.transport import TransportConnection
from cnx.deadline import Deadline
from cnx.errors import AccessDenied, CnxError, PeerClosed, TimedOut
from cnx.framing import shorten
from cnx.transports.datagrams import UdpTransport
from cnx.transports.dialing import connect_socket
from cnx.transports.resolver import reason_of, resolve, shown
from cnx.transports.sockets import SocketTransport
from cnx.transports.tls import TlsTransport, trouble_with
from cnx.transports.transport import CHUNK, Transport

__all__ = ["Finding", "examine", "examine_client"]

T = TypeVar("T")

SOON = 30
DAY = 86400


class Finding(NamedTuple):
    """What one step found.

    Attributes:
        step: ``name``, ``address``, ``open``, ``TLS``, ``certificate``, ``login``, ``first bytes`` or ``round trip``.
        seconds: how long it took.
        good: whether it is right; ``None`` if it may be right or wrong.
        verdict: what was found.
        advice: what to do about it; empty if nothing.
    """

    step: str
    seconds: float
    good: bool | None
    verdict: str
    advice: str = ""


Findings = Generator[Finding, None, T]


def examine(
    subject: TransportConnection, *, timeout: float = 5.0, patience: float = 1.0, request: bytes = b""
) -> Iterator[Finding]:
    """Examine the address of a connection that is not connected, and yield the finding of each step.

    Args:
        subject: as :func:`cnx.connection` returns it.
        timeout: seconds for each step.
        patience: seconds to wait for bytes that arrive without a request.
        request: bytes to send, to wait for an answer; none if empty.
    """
    transport = yield from open_link(subject, timeout)
    if transport is None:
        return
    try:
        if (yield from examine_greeting(transport, patience)) and request:
            yield from examine_answer(transport, request, timeout)
    finally:
        transport.shutdown()
        transport.close()


def examine_client(
    client: Connection, servers: Iterable[TransportConnection], *, timeout: float = 5.0
) -> Iterator[Finding]:
    """Examine the servers of a client, then let it log in, and yield the finding of each step.

    Args:
        client: not connected; it is disconnected afterwards.
        servers: plain connections to the same servers, as for :func:`examine`.
        timeout: seconds for each step.
    """
    reached = False
    for server in servers:
        transport = yield from open_link(server, timeout)
        if transport is not None:  # it is closed before the login, as the server may have room for one client only
            reached = True
            transport.shutdown()
            transport.close()
    if reached:
        yield examine_login(client, timeout)


def examine_login(client: Connection, timeout: float) -> Finding:
    """Connect a client, login included, and disconnect it."""
    outcome, seconds = measured(lambda: client.connect(timeout))
    client.disconnect()
    if not isinstance(outcome, Exception):
        return Finding("login", seconds, True, f"{client.name} is let in")
    if isinstance(outcome, AccessDenied):
        advice = "check user, password and rights; the server understood the question"
    elif isinstance(outcome, TimedOut):
        advice = "it is busy, or another kind of server: is the port right?"
    else:
        advice = "is it a server of this kind? see its log"
    return Finding("login", seconds, False, str(outcome), advice)


def open_link(subject: TransportConnection, timeout: float) -> Findings[Transport | None]:
    """Open a transport, step by step if its steps are known."""
    if type(subject) is SocketConnection:
        return (yield from examine_socket(subject, timeout))
    return (yield from examine_opening(subject, timeout))


def measured(action: Callable[[], T]) -> tuple[T | Exception, float]:
    """Return what ``action`` returns or raises, and how many seconds it took."""
    began = time.monotonic()
    try:
        outcome: T | Exception = action()
    except (CnxError, OSError, ValueError) as error:  # all that transports and clients raise
        outcome = error
    return outcome, time.monotonic() - began


def examine_opening(subject: TransportConnection, timeout: float) -> Findings[Transport | None]:
    """Open a transport as the connection does."""
    outcome, seconds = measured(lambda: subject.open_transport(Deadline(timeout)))
    if isinstance(outcome, Exception):
        verdict = str(outcome)
        advice = "" if "; " in verdict else "check the address, and that the device is there"  # else it has its own
        yield Finding("open", seconds, False, verdict, advice)
    elif isinstance(outcome, UdpTransport):
        advice = "only an answer does: give it a request"
        yield Finding("open", seconds, None, "a UDP socket is open, which does not show that the peer is there", advice)
    else:
        yield Finding("open", seconds, True, f"{subject.address} is open")
    return None if isinstance(outcome, Exception) else outcome


def examine_socket(subject: SocketConnection, timeout: float) -> Findings[Transport | None]:
    """Look up the name, try every address, and start TLS with the first that answers."""
    found, seconds = measured(lambda: resolve(subject.host, subject.port, socket.SOCK_STREAM, Deadline(timeout)))
    if isinstance(found, Exception):
        advice = "check the spelling, the network, and the name server"
        yield Finding("name", seconds, False, f"the name {subject.host!r} is not known: {reason_of(found)}", advice)
        return None
    addresses = ", ".join(address[0] for _, address in found)
    yield Finding("name", seconds, True, f"{subject.host} is {addresses}")
    first: SocketTransport | None = None
    for family, address in found:
        opened = yield from examine_address(family, address, timeout)
        if opened is not None and first is not None:
            opened.close()
        first = first or opened
    if first is None or subject.tls is None:
        return first
    return (yield from examine_tls(first, subject.tls, subject.server_hostname, timeout))


def examine_address(family: int, address: Any, timeout: float) -> Findings[SocketTransport | None]:
    """Connect to one address."""
    where = shown(*address[:2])
    sock = socket.socket(family, socket.SOCK_STREAM)
    outcome, seconds = measured(lambda: connect_socket(sock, address, Deadline(timeout)))
    if not isinstance(outcome, Exception):
        yield Finding("address", seconds, True, f"{where} accepts connections")
        return SocketTransport(sock, where)
    sock.close()
    if isinstance(outcome, TimedOut):
        verdict, advice = (
            f"{where} does not answer",
            "is it switched on? a firewall may be in between, or it is overloaded",
        )
    elif getattr(outcome, "errno", None) == errno.ECONNREFUSED:
        verdict, advice = (
            f"{where} refuses connections",
            "nothing listens there: is the program running, the port right?",
        )
    else:
        verdict, advice = f"{where} cannot be reached: {reason_of(outcome)}", "check the network and the routes"
    yield Finding("address", seconds, False, verdict, advice)
    return None


def examine_tls(
    inner: SocketTransport, context: ssl.SSLContext, name: str, timeout: float
) -> Findings[TlsTransport | None]:
    """Start TLS, and examine the certificate."""
    transport = TlsTransport(inner, context, name)
    outcome, seconds = measured(lambda: transport.handshake(Deadline(timeout)))
    if isinstance(outcome, Exception):
        transport.shutdown()
        transport.close()
        yield Finding("TLS", seconds, False, *trouble_with_tls(outcome, name))
        return None
    yield Finding("TLS", seconds, True, f"{transport.engine.version()} with {(transport.engine.cipher() or ['?'])[0]}")
    yield certificate_of(transport.engine)
    return transport


def trouble_with_tls(error: Exception, name: str) -> tuple[str, str]:
    """Return verdict and advice for a handshake that failed."""
    if isinstance(error, TimedOut):
        return "it does not answer the TLS greeting", "it may speak no TLS: try tcp://"
    return trouble_with(error.__cause__ if isinstance(error.__cause__, Exception) else error, name)


def certificate_of(engine: ssl.SSLObject) -> Finding:
    """Return how long the certificate is valid."""
    end = (engine.getpeercert() or {}).get("notAfter")
    if not isinstance(end, str):
        return Finding("certificate", 0.0, None, "it was not verified", "leave out verify=no, give ?ca=/path/to/ca.pem")
    days = (ssl.cert_time_to_seconds(end) - time.time()) / DAY
    if days < SOON:
        return Finding("certificate", 0.0, None, f"valid for {days:.0f} more days only", "renew it in time")
    return Finding("certificate", 0.0, True, f"valid until {end}, for {days:.0f} more days")


def examine_greeting(transport: Transport, patience: float) -> Findings[bool]:
    """Wait for bytes that arrive without a request; return whether the link is still up."""
    outcome, seconds = measured(lambda: transport.read(CHUNK, patience))
    if isinstance(outcome, TimedOut):
        advice = "that is right for a device that waits for a request: give it one"
        verdict = "it says nothing" if isinstance(transport, UdpTransport) else "it accepts, and says nothing"
        yield Finding("first bytes", seconds, None, verdict, advice)
    elif isinstance(outcome, PeerClosed):
        advice = "it may have no room for more clients, or not want this one: see its log"
        yield Finding("first bytes", seconds, False, "it accepts, and closes the link at once", advice)
    elif isinstance(outcome, Exception):
        yield Finding("first bytes", seconds, False, f"the link broke: {outcome}", "see the log of the other side")
    else:
        yield Finding("first bytes", seconds, True, f"it says {shorten(outcome)}")
    return isinstance(outcome, (bytes, TimedOut))


def examine_answer(transport: Transport, request: bytes, timeout: float) -> Findings[None]:
    """Send a request and wait for the answer."""

    def ask() -> bytes:
        if transport.write(request, timeout) != len(request):
            raise TimedOut("it does not take the request")
        return transport.read(CHUNK, timeout)

    outcome, seconds = measured(ask)
    if isinstance(transport, UdpTransport) and transport.refused:
        verdict, advice = "its host says that nothing listens at that port", "is the program running, the port right?"
        yield Finding("round trip", seconds, False, verdict, advice)
    elif isinstance(outcome, Exception):
        advice = "check the request, its end of line, and the settings of the line"
        yield Finding("round trip", seconds, False, f"no answer to {shorten(request)}: {outcome}", advice)
    else:
        yield Finding("round trip", seconds, True, f"it answers {shorten(outcome)}")
