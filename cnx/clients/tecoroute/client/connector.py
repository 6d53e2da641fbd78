"""A connection to a PLC through the TecoRoute service."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Any

from cnx.clients.tecoroute.client.errors import ConnectorLatencyError
from cnx.clients.tecoroute.client.login import Credentials
from cnx.clients.tecoroute.client.pace import OPENINGS, Pace
from cnx.clients.tecoroute.client.rules import Rules
from cnx.clients.tecoroute.client.session import Session
from cnx.clients.tecoroute.client.tunnel import Tunnel
from cnx.clients.tecoroute.client.window import Pending
from cnx.clients.tecoroute.protocol.epsnet import message_id
from cnx.clients.tecoroute.protocol.http import Response
from cnx.clients.tecoroute.protocol.session import checked_datagram, data_request
from cnx.deadline import Deadline, checked_timeout
from cnx.errors import Cancelled, CnxError, ProtocolError
from cnx.framing import shorten
from cnx.signals import Emitter
from cnx.signals.subscriptions import Signal

__all__ = ["Connector"]

log = logging.getLogger(__name__)

KEEPALIVE = data_request(b"")
KEEPALIVE_PATIENCE = 0.05
SOONEST_LOOK = 0.001


class Connector(Tunnel):
    """A connection to one PLC through the TecoRoute service, over one TCP connection. Thread-safe.

    Connected means logged in, so the PLC can be talked to. Datagrams go through as they are (in general EPSNET). ::

        with Connector("BroukPytlik", "ferda1", "AB_1234") as connector:
            answer = connector.request(set_clock(datetime.now()), timeout=2.0)

    Args:
        username: user of the service, 1 to 255 bytes as UTF-8.
        password: in clear; it is never shown.
        plc: name of the PLC, 1 to 255 bytes as UTF-8.
        application: a name that the service knows, printable ASCII.
        tecoroute_host: host of the service: a name, IPv4 or IPv6.
        tecoroute_port: port of the service.
        latency_threshold: seconds from which on an answer is slow.
        latency_count: so many slow answers in a row end the link.
        name: what it is called; PLC and address if empty.
        max_outstanding: requests that may wait for their answers; a further :meth:`send` waits.
        keepalive_interval: seconds without a request after which one without data is sent.
        silence_limit: seconds that an answer may be missing while nothing else comes, before the link is ended;
            ``None`` for no limit. Keepalives count only if the service has answered one.
        strict: a login step succeeds only with HTTP status 200; otherwise the status does not matter.
        step_timeout: seconds for each step of the login, within ``connect_timeout`` for all; ``None`` for no limit.
        pace: gives out the turns to open; by default all connectors of a process together open one per second.
        **settings: see :class:`~cnx.connections.sockets.SocketConnection`.

    Raises:
        ValueError, TypeError: an argument cannot be; nothing was opened.
    """

    class PlcSignals(Signal):
        """What a connector tells, beside the signals of every connection."""

        DATAGRAM_RECEIVED = "datagram-received"
        """``datagram``: bytes from the PLC, other than the answer to a :meth:`Connector.request`. What a subscriber
        was told, :meth:`Connector.receive` does not return."""
        LATENCY_MEASURED = "latency-measured"
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
        **settings: Any,
    ) -> None:
        credentials = Credentials(username, password, plc, application)
        rules = Rules(latency_threshold, latency_count, max_outstanding, keepalive_interval, silence_limit)
        self._silence_limit = math.inf if silence_limit is None else silence_limit
        super().__init__(
            credentials,
            rules,
            tecoroute_host,
            tecoroute_port,
            strict=strict,
            step_timeout=step_timeout,
            pace=pace,
            **settings,
        )
        self._name = name or f"{plc} at {self.address}"
        self._datagrams = Emitter(self, self.PlcSignals.DATAGRAM_RECEIVED, "datagram")
        self._latencies = Emitter(self, self.PlcSignals.LATENCY_MEASURED, "seconds")

    # -- for users -------------------------------------------------------------------------------------------------

    @property
    def http_time(self) -> float | None:
        """Seconds that the service took for the last answer, to the millisecond; ``None`` while none is known."""
        session = self._session
        value = session.latency.value if session is not None and session.reason is None else None
        return None if value is None else round(value, 3)

    @property
    def is_running(self) -> bool:
        """Whether it is connected or being connected."""
        return self.connected or bool(self._attempts)

    def run(self) -> None:
        """Connect if that was not done, and return when :meth:`close` was called.

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
                raise self.last_error
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

        It waits while ``max_outstanding`` requests wait for their answers; one that is not answered within 10 s
        does not count any more. An empty message only keeps the session alive.

        Args:
            message: 0 to 65507 bytes.
            timeout: seconds to wait until it can be sent.
            on_answer: called with the answer, on the thread that brings it. Without it, the answer is told by
                ``DATAGRAM_RECEIVED`` or, if nobody is subscribed, kept for :meth:`receive`.
            asker: who asks, where several share the connector: who sends a message id again after a second has given
                up the request before, so that an answer of theirs that was lost does not shift those of the others.

        Raises:
            TimedOut: it could not be sent in time, and was not.
            LimitExceeded: 1000 datagrams wait to be received, or a handler would wait for answers that it holds up.
            RuntimeError: it interrupts another call of the same thread that sends.
            ConnectorError: there is no link; a ConnectorNotConnected if it was not lost.
        """
        datagram = checked_datagram(message)
        pending = Pending(message_id(datagram), keepalive=not datagram, on_answer=on_answer, asker=asker)
        self._up().send(data_request(datagram), pending, self._patience(timeout))

    def request(self, message: bytes, timeout: float | None = None) -> bytes:  # type: ignore[override]
        """Send a datagram and return the answer: the one with the same message id.

        An answer that has no message id belongs to the oldest request without one.

        Raises:
            TimedOut: no answer in time; if it still comes, it is only counted.
            ConnectorResponseError: the service answered with an error.
            RuntimeError: called in a handler, on the thread that would bring the answer.
            ConnectorError: there is no link, or it ended; a ConnectorNotConnected if it was not lost.
        """
        datagram = checked_datagram(message)
        if not datagram:
            raise ValueError("an empty datagram has no answer; send() it to keep the session alive")
        pending = Pending(message_id(datagram), awaited=True)
        return self._up().ask(data_request(datagram), pending, self._patience(timeout))

    def receive(self, timeout: float | None = None) -> bytes:
        """Return the next datagram from the PLC that no :meth:`request` and no ``on_answer`` got.

        What came before the end of a link can be received until the next link is there.

        Raises:
            TimedOut: none came in time.
            RuntimeError: there is none, and it was called in a handler, on the thread that would bring it.
            ConnectorError: there is no link, or it ended; a ConnectorNotConnected if it was not lost.
        """
        return self._up().receive(self._patience(timeout))

    # -- how the connection is driven ------------------------------------------------------------------------------

    def prepare(self, deadline: Deadline) -> None:
        """Log in, and have the session looked after."""
        super().prepare(deadline)
        self._timer = self.schedule(min(self._rules.keepalive_interval, self._silence_limit), self._look_after)

    def on_message(self, response: Response) -> None:
        """Take an answer of the service."""
        if not response.is_whole:
            raise ProtocolError(f"an answer was cut short: the next one begins inside of it: {shorten(response.body)}")
        session = self._up()
        news = session.accept(response)
        if response.status != 200:
            log.warning("%s: the service answered a request with status %d", self.name, response.status)
        if news.datagram is not None:
            self._deliver(session, news.datagram, news.pending)
        if news.seconds is not None:
            self._judge(session, news.seconds)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _patience(self, timeout: float | None) -> float | None:
        return self.timeout if timeout is None else checked_timeout(timeout)

    def _deliver(self, session: Session, datagram: bytes, pending: Pending | None) -> None:
        """Hand out a datagram that nobody waits for."""
        if pending is not None and pending.on_answer is not None:
            try:
                pending.on_answer(datagram)
            except Exception:
                log.exception("%s: the on_answer of a message failed", self.name)
        elif self._datagrams.has_subscribers():
            self._datagrams.emit(datagram)
        else:
            session.keep(datagram)

    def _judge(self, session: Session, seconds: float) -> None:
        """Tell how long the service took, and leave it if it is too slow."""
        if self._latencies.has_subscribers():
            self._latencies.emit(seconds)
        if session.latency.exceeded:
            rules = self._rules
            text = f"{rules.latency_count} answers in a row took {rules.latency_threshold:g} s or longer"
            self.raise_alarm(ConnectorLatencyError(text))

    def _look_after(self) -> None:
        """Keep the session alive, and end it if the service has gone silent; on the thread that listens."""
        session, now = self._session, monotonic()
        if session is None or session.reason is not None:
            return  # the link is about to be told of
        silence, idle = session.latency.silence(now), now - session.last_sent
        if silence >= self._silence_limit:
            self.raise_alarm(ConnectorLatencyError(f"no answer at all for {silence:.1f} s"))
            return
        if idle >= self._rules.keepalive_interval:
            self._keep_alive(session)
            idle = 0.0
        wait = min(self._rules.keepalive_interval - idle, self._silence_limit - silence)
        self._timer.delay = max(wait, SOONEST_LOOK)

    def _keep_alive(self, session: Session) -> None:
        try:
            session.send(KEEPALIVE, Pending(keepalive=True), KEEPALIVE_PATIENCE)
        except CnxError as error:  # something is on its way, so the session is alive; or the link has just ended
            log.debug("%s: no keepalive: %s", self.name, error)
