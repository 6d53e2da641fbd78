"""A connection to a PLC through the TecoRoute service."""

from __future__ import annotations

import logging
import math
import os
import ssl
from collections.abc import Callable, Hashable
from time import monotonic
from typing import TypedDict

from typing_extensions import Unpack

from cnx.clients.tecoroute.client.errors import (
    ConnectorConnectionError,
    ConnectorLatencyError,
    ConnectorNotConnected,
)
from cnx.clients.tecoroute.client.login import Credentials, log_in
from cnx.clients.tecoroute.client.policy import OPENINGS, Pace, Rules
from cnx.clients.tecoroute.client.session import Session
from cnx.clients.tecoroute.client.statistics import Statistics
from cnx.clients.tecoroute.client.window import Pending
from cnx.clients.tecoroute.protocol.epsnet import message_id
from cnx.clients.tecoroute.protocol.http import Response, ResponseReader
from cnx.clients.tecoroute.protocol.session import checked_datagram, data_request
from cnx.connections.heartbeat import Beat
from cnx.connections.sockets import SocketConnection
from cnx.deadline import Deadline, checked_timeout
from cnx.errors import Cancelled, CnxError, ProtocolError, fresh, not_connected
from cnx.framing import shorten
from cnx.link.listener import Listener
from cnx.logs import log_of_peer, logger
from cnx.signals.emitter import Emitter
from cnx.signals.subscriptions import Signal, SignalName
from cnx.threads.hook import report_error
from cnx.transports.resolver import checked_host, checked_port, shown
from cnx.transports.sockets import SocketOptions
from cnx.transports.transport import Transport

__all__ = ["Connector", "ConnectorSettings", "TunnelSettings"]

log = logger(__name__)

KEEPALIVE = data_request(b"")

KEEPALIVE_PATIENCE = 0.05
"""Seconds that a keepalive waits for its turn: if other requests are being sent, none is needed."""

SHORTEST_PAUSE = 0.001
"""Seconds between two checks of a session, at least."""

HIDDEN = 200
"""Number of password proofs that are kept out of the history, the latest ones; by default it holds fewer records."""


class TunnelSettings(TypedDict, total=False):
    """The settings that a connector passes on to its TCP connection; see :class:`~cnx.SocketConnection`."""

    connect_timeout: float | None
    timeout: float | None
    limit: int
    listener: Listener | None
    heartbeat: Beat | None
    heartbeat_interval: float | None
    record: int
    record_to: str | os.PathLike[str] | None
    encoding: str
    terminator: bytes
    tls: bool | ssl.SSLContext | None
    server_hostname: str | None
    options: SocketOptions | None


class ConnectorSettings(TunnelSettings, total=False):
    """The settings of a connector besides user, password and PLC; see :class:`Connector`."""

    application: str
    tecoroute_host: str
    tecoroute_port: int
    latency_threshold: float
    latency_count: int
    name: str
    max_outstanding: int
    keepalive_interval: float
    silence_limit: float | None
    strict: bool
    step_timeout: float | None
    pace: Pace


class Connector(SocketConnection):
    """A connection to one PLC through the TecoRoute service, over one TCP connection. Thread-safe.

    It is connected when the login has succeeded. Datagrams (usually EPSNET) are passed on unchanged. ::

        with Connector("BroukPytlik", "ferda1", "AB_1234") as connector:
            answer = connector.request(set_clock(datetime.now()), timeout=2.0)

    Args:
        username: user of the service, 1 to 255 bytes as UTF-8.
        password: in clear; it is never shown.
        plc: name of the PLC, 1 to 255 bytes as UTF-8.
        application: a name that the service knows, printable ASCII.
        tecoroute_host: host of the service: a name, IPv4 or IPv6.
        tecoroute_port: port of the service, 1 to 65535.
        latency_threshold: seconds; an answer that takes that long or longer is slow.
        latency_count: number of slow answers in a row that end the link.
        name: name in log lines and thread names; PLC and address if empty.
        max_outstanding: number of requests that may wait for their answers; a further :meth:`send` waits.
        keepalive_interval: seconds without a request before an empty request is sent as a keepalive.
        silence_limit: seconds to wait for an answer while nothing arrives at all, before the link is ended; ``None``
            for no limit. Keepalives count only if the service has answered one before.
        strict: a login step succeeds only with HTTP status 200; if false, the status does not matter.
        step_timeout: seconds for each step of the login, within ``connect_timeout`` for all; ``None`` for no limit.
        pace: limits how often connections are opened; by default all connectors of a process together open one per
            second.
        **settings: see :class:`~cnx.SocketConnection`.

    Attributes:
        statistics: counters over all links.

    Raises:
        ValueError, TypeError: an argument is invalid; nothing was opened.
    """

    class PlcSignals(Signal):
        """The signals of a connector, in addition to those of every connection."""

        DATAGRAM_RECEIVED = SignalName("datagram-received", "datagram")
        """``datagram``: bytes from the PLC that are not the answer to a :meth:`Connector.request`. With a subscriber,
        :meth:`Connector.receive` does not return them."""
        LATENCY_MEASURED = SignalName("latency-measured", "seconds")
        """``seconds``: how long the service took to answer."""

    def __init__(
        self,
        username: str,
        password: str,
        plc: str,
        application: str = "Mosaic",
        tecoroute_host: str = "route.tecomat.com",
        tecoroute_port: int = 61682,
        latency_threshold: float = 0.8,
        latency_count: int = 2,
        name: str = "",
        *,
        max_outstanding: int = 128,
        keepalive_interval: float = 10.0,
        silence_limit: float | None = 30.0,
        strict: bool = True,
        step_timeout: float | None = 5.0,
        pace: Pace = OPENINGS,
        **settings: Unpack[TunnelSettings],
    ) -> None:
        self._credentials = Credentials(username, password, plc, application)
        self._rules = Rules(latency_threshold, latency_count, max_outstanding, keepalive_interval, silence_limit)
        self._silence_limit = math.inf if silence_limit is None else silence_limit
        self._strict = strict
        self._step_timeout = checked_timeout(step_timeout, "step_timeout")
        self._pace = pace
        self._session: Session | None = None  # of the last link that was announced, or is just being announced
        self._datagrams = Emitter(self, self.PlcSignals.DATAGRAM_RECEIVED, "datagram")
        self._latencies = Emitter(self, self.PlcSignals.LATENCY_MEASURED, "seconds")
        self.statistics = Statistics()
        address = shown(checked_host(tecoroute_host), checked_port(tecoroute_port))
        super().__init__(
            tecoroute_host, tecoroute_port, name=name or f"{plc} at {address}", framing=ResponseReader(), **settings
        )

    # -- for users -------------------------------------------------------------------------------------------------

    @property
    def http_time(self) -> float | None:
        """Seconds that the service took for the last answer, in whole milliseconds; ``None`` if not known."""
        session = self._session
        value = session.latency.value if session is not None and session.reason is None else None
        return None if value is None else round(value, 3)

    @property
    def is_running(self) -> bool:
        """Whether it is connected or being connected."""
        return self.connected or self.is_attempting

    def run(self) -> None:
        """Connect, unless already connected, and return after :meth:`close` was called.

        Raises:
            ConnectorError: it could not connect, or the link was lost.
        """
        before = self._session
        try:
            connected = self.try_connect()
            session = self._session
            if session is not None and (connected or session is not before):
                session.wait_until_ended()
            elif self.last_error is not None and not isinstance(self.last_error, Cancelled):
                raise fresh(self.last_error)
        finally:
            self.close()

    def close(self) -> None:
        """End the link or the attempt; same as :meth:`disconnect`."""
        self.disconnect()

    def send(
        self,
        message: bytes,
        *,
        timeout: float | None = None,
        on_answer: Callable[[bytes], object] | None = None,
        asker: Hashable | None = None,
    ) -> None:
        """Send a datagram, without waiting for the answer.

        The call waits while ``max_outstanding`` requests wait for their answers; a request that is not answered within
        10 s no longer counts. An empty message only keeps the session alive.

        Args:
            message: 0 to 65507 bytes.
            timeout: seconds to wait until it can be sent; that of the connection if omitted.
            on_answer: called with the answer, on the thread that receives it. Without it, the answer is emitted as
                ``DATAGRAM_RECEIVED`` or, without a subscriber, kept for :meth:`receive`.
            asker: identifies the program that asks, if several share the connector. A program that uses a message id
                again after a second has given up its earlier request, so a lost answer does not shift the answers of
                the other programs.

        Raises:
            TimedOut: it could not be sent in time, and was not.
            LimitExceeded: 1000 datagrams wait to be received, or the calling thread would have to wait for answers
                that only it can receive.
            RuntimeError: a signal handler called it while the same thread was sending.
            ConnectorError: there is no link; a ConnectorNotConnected unless the link was lost.
        """
        datagram = checked_datagram(message)
        pending = Pending(message_id(datagram), keepalive=not datagram, on_answer=on_answer, asker=asker)
        self._last_session().send(data_request(datagram), pending, self._seconds(timeout))

    def request(self, message: bytes, timeout: float | None = None) -> bytes:  # type: ignore[override]
        """Send a datagram and return the answer: the next datagram with the same message id.

        An answer without a message id belongs to the oldest request without one.

        Raises:
            TimedOut: no answer in time; if it arrives later, it is only counted.
            ConnectorResponseError: the service answered with an error.
            RuntimeError: a handler called it on the thread that would receive the answer.
            ConnectorError: there is no link, or it ended; a ConnectorNotConnected unless it was lost.
        """
        datagram = checked_datagram(message)
        if not datagram:
            raise ValueError("an empty datagram has no answer; send() it to keep the session alive")
        pending = Pending(message_id(datagram), awaited=True)
        return self._last_session().ask(data_request(datagram), pending, self._seconds(timeout))

    def receive(self, timeout: float | None = None) -> bytes:
        """Return the next datagram from the PLC that went to no :meth:`request` and no ``on_answer``.

        Datagrams that arrived before the end of a link can be received until the next link is up.

        Raises:
            TimedOut: none arrived in time.
            RuntimeError: there is none, and a handler called it on the thread that would receive it.
            ConnectorError: there is no link, or it ended; a ConnectorNotConnected unless it was lost.
        """
        return self._last_session().receive(self._seconds(timeout))

    # -- how the connection is driven ------------------------------------------------------------------------------

    def open_transport(self, deadline: Deadline) -> Transport:
        """Wait for a turn of the pace, and open the TCP connection."""
        self._pace.wait(deadline)
        try:
            return super().open_transport(deadline)
        except Cancelled:
            raise
        except CnxError as error:
            raise ConnectorConnectionError(str(error)) from error

    def prepare(self, deadline: Deadline) -> None:
        """Log in, and schedule keepalives."""
        try:
            log_in(
                self._credentials,
                lambda step, request: self._ask(step, request, deadline),
                strict=self._strict,
                hide=self._hide,
            )
        except ProtocolError as error:
            raise ConnectorConnectionError(f"{self.address} is no TecoRoute service: {error}") from error
        if self._session is not None:
            # Its requests must not go out over the new link, which any thread can use as soon as this returns.
            self._session.wait_for_sender(deadline)
        self._timer = self.schedule(min(self._rules.keepalive_interval, self._silence_limit), self._look_after)

    def announce(self) -> None:
        """Begin the session, and emit ``CONNECTED``; handlers can send already."""
        if self._session is not None and self._session.drop_unread():
            log.warning("%s: datagrams of the last link were not received and are dropped", self.name)
        session = self._session = Session(self, self._rules, self.statistics)
        try:
            super().announce()
        except BaseException as error:
            # If CONNECTED was not emitted, on_disconnected() will not be called, and nothing else ends the session.
            interrupted = Cancelled("the attempt to connect was interrupted")
            session.end(error if isinstance(error, CnxError) else interrupted)
            raise

    def release(self, reason: BaseException, timeout: float) -> None:
        """End the link; wake the threads that wait to send at once, although the end is emitted only later."""
        session = self._session  # before the link ends: after that, another thread may begin the next session
        super().release(reason, 0.0)
        if session is not None:
            session.refuse_requests(reason)
        if timeout:
            super().release(reason, timeout)

    def on_disconnected(self, reason: BaseException) -> None:
        """Wake all threads that wait for something."""
        if self._session is not None:
            self._session.end(reason)

    def after_fork(self) -> None:
        """Forget the session, whose link and threads belong to the parent process."""
        super().after_fork()
        self._session = None

    def on_message(self, response: Response) -> None:
        """Handle an answer of the service."""
        if not response.is_whole:
            raise ProtocolError(f"an answer was cut short: the next one begins inside it: {shorten(response.body)}")
        session = self._last_session()
        accepted = session.accept(response)
        if response.status != 200:
            text = "%s: the service answered a request with status %d"
            log_of_peer(log, logging.WARNING, text, self.name, response.status)
        if accepted.datagram is not None:
            self._deliver(session, accepted.datagram, accepted.pending)
        if accepted.seconds is not None:
            self._check_latency(session, accepted.seconds)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _last_session(self) -> Session:
        """Return the present session, or the last one, which knows why it ended."""
        if self._session is None:
            raise ConnectorNotConnected(not_connected(self.name, self.last_error))
        return self._session

    def _seconds(self, timeout: float | None) -> float | None:
        """Return the seconds that a call waits which was given ``timeout``; ``None`` for no limit."""
        return self.timeout if timeout is None else checked_timeout(timeout)

    def _hide(self, proof: bytes) -> None:
        """Keep a password proof out of the history: with proof and salt, passwords could be guessed offline."""
        self.secrets = (*self.secrets, proof)[-HIDDEN:]

    def _ask(self, step: str, request: bytes, deadline: Deadline) -> Response:
        """Send the request of a login step and return the answer."""
        step_deadline = Deadline(self._step_timeout)  # the link itself keeps to the deadline of the attempt
        try:
            deadline.check(f"asking for {step}")
            self.write(request, timeout=step_deadline.remaining())
            answer: Response = super().receive(timeout=step_deadline.remaining())
        except Cancelled:
            raise
        except CnxError as error:
            raise ConnectorConnectionError(f"{self.address} gave no good answer to {step}: {error}") from error
        return answer

    def _deliver(self, session: Session, datagram: bytes, pending: Pending | None) -> None:
        """Pass on a datagram that no thread waits for."""
        if pending is not None and pending.on_answer is not None:
            try:
                pending.on_answer(datagram)
            except Exception as error:
                report_error(error, f"{self.name}: the on_answer of a message failed")
        elif self._datagrams.has_subscribers():
            self._datagrams.emit(datagram)
        else:
            session.keep(datagram)

    def _check_latency(self, session: Session, seconds: float) -> None:
        """Emit how long the service took, and end the link if the service is too slow."""
        if self._latencies.has_subscribers():
            self._latencies.emit(seconds)
        if session.latency.exceeded:
            rules = self._rules
            text = f"{rules.latency_count} answers in a row took {rules.latency_threshold:g} s or longer"
            self.raise_alarm(ConnectorLatencyError(text))

    def _look_after(self) -> None:
        """Send a keepalive if one is due, and end the link if the service is silent."""
        session, now = self._session, monotonic()
        if session is None or session.reason is not None:
            return  # the session of this link has not begun yet
        silence, idle = session.latency.silence(now), now - session.last_sent
        if silence >= self._silence_limit and not self.in_waiting:  # an answer may wait for a handler that takes long
            self.raise_alarm(ConnectorLatencyError(f"no answer at all for {silence:.1f} s"))
            return
        if idle >= self._rules.keepalive_interval:
            self._keep_alive(session)
            idle = 0.0
        wait = min(self._rules.keepalive_interval - idle, self._silence_limit - silence)
        self._timer.delay = max(wait, SHORTEST_PAUSE)

    def _keep_alive(self, session: Session) -> None:
        try:
            session.send(KEEPALIVE, Pending(keepalive=True), KEEPALIVE_PATIENCE)
        except CnxError as error:  # other requests are being sent, which do as well; or the link has just ended
            log.debug("%s: no keepalive: %s", self.name, error)
