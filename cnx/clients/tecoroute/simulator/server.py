"""A simulated TecoRoute service with PLCs behind it. It follows what is known of the real one from its clients."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic

from cnx.buffer import ReceiveBuffer
from cnx.clients.tecoroute.protocol.http import Request, RequestReader, Response
from cnx.clients.tecoroute.protocol.session import encode
from cnx.clients.tecoroute.simulator.faults import FAULTS, Reply, Then
from cnx.clients.tecoroute.simulator.service import Accounts, Service, Texts
from cnx.errors import LimitExceeded, ProtocolError, TimedOut
from cnx.simulation import Session, Simulator

__all__ = ["KEEPALIVES", "Record", "TecorouteSimulator"]

KEEPALIVES: dict[str, bytes | None] = {"none": None, "empty": b"", "byte": b"\x00"}
"""Ways to answer a keepalive, by name; which of them the real service has is not known."""

RECORD_SIZE = 10_000


class Record:
    """The last 10,000 requests of all clients. Thread-safe."""

    def __init__(self) -> None:
        self._requests: deque[Request] = deque(maxlen=RECORD_SIZE)
        self._changed = threading.Condition()

    def add(self, request: Request) -> None:
        """Remember a request."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def snapshot(self, path: str = "") -> list[Request]:
        """Return the requests so far, or those for ``path``."""
        with self._changed:
            return [request for request in self._requests if not path or request.path == path]

    def wait_for(self, found: Callable[[list[Request]], bool], timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until ``found(requests so far)`` is true; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: found(list(self._requests)), timeout)


class TecorouteSimulator(Simulator):
    """The TecoRoute service.

    Args:
        accounts: users, PLCs and rights.
        texts: the texts of the service.
        salt: body of the first answer; eight random digits if omitted.
        keepalive: a name of ``KEEPALIVES``.
        delay: seconds from a request to its answer.
        pipelined: handle requests at the same time; otherwise one after the other, each for ``delay`` seconds.
        faults: names of ``FAULTS``, by the answer to change: the path of a login step, or the number of a DATA.BIN
            request of a connection, from 1.
        max_sessions: number of clients at a time.
    """

    def __init__(
        self,
        accounts: Accounts | None = None,
        *,
        texts: Texts | None = None,
        salt: str | None = None,
        keepalive: str = "none",
        delay: float = 0.0,
        pipelined: bool = True,
        faults: Mapping[str | int, str] | None = None,
        max_sessions: int = 2000,
    ) -> None:
        super().__init__("tecoroute", max_sessions=max_sessions)
        if keepalive not in KEEPALIVES:
            raise ValueError(f"keepalive must be one of {', '.join(KEEPALIVES)}, not {keepalive!r}")
        if not 0 <= delay <= 3600:
            raise ValueError(f"delay must be between 0 and 3600 seconds, not {delay!r}")
        unknown = set((faults or {}).values()) - set(FAULTS)
        if unknown:
            raise ValueError(f"unknown faults {sorted(unknown)}; there are {', '.join(FAULTS)}")
        self.accounts = accounts or Accounts()
        self.texts = texts or Texts()
        self.salt = salt
        self.keepalive = keepalive
        self.delay = delay
        self.pipelined = pipelined
        self.faults = dict(faults or {})
        self.record = Record()

    def serve(self, session: Session) -> None:
        """Serve one client."""
        salt = f"{random.randrange(10**8):08}" if self.salt is None else self.salt
        service = Service(self.accounts, self.texts, salt, KEEPALIVES[self.keepalive])
        visit = Visit(self, service)
        while visit.send_due(session):
            try:
                data = session.read(timeout=visit.next_due())
            except TimedOut:
                continue
            if not data:
                return
            visit.receive(data)

    def push(self, *datagrams: bytes, status: int = 200) -> None:
        """Send each datagram to every connected client as an answer, whether or not it has sent a request."""
        data = b"".join(Response(status, encode(datagram)).encode() for datagram in datagrams)
        for session in self.sessions:
            session.write(data)


class Visit:
    """The connection of one client: its incomplete request, and the replies that are not due yet."""

    def __init__(self, simulator: TecorouteSimulator, service: Service) -> None:
        self._simulator = simulator
        self._service = service
        self._reader = RequestReader()
        self._buffer = ReceiveBuffer()
        self._replies: deque[tuple[float, Reply]] = deque()
        self._data_requests = 0

    def receive(self, data: bytes) -> None:
        """Handle data from the client."""
        self._buffer.append(data)
        try:
            while (request := self._reader.take(self._buffer)) is not None:
                self._handle(request)
        except (ProtocolError, LimitExceeded) as error:
            self._reply(Reply(Response(400, str(error).encode()).encode(), Then.CLOSE))

    def next_due(self) -> float | None:
        """Return the seconds until the next reply is due, ``None`` if there is none."""
        return max(0.0, self._replies[0][0] - monotonic()) if self._replies else None

    def send_due(self, session: Session) -> bool:
        """Send the replies that are due; return whether the connection stays open."""
        pieces: list[bytes] = []
        apart = False
        then = Then.GO_ON
        while then is Then.GO_ON and self._replies and self._replies[0][0] <= monotonic():
            reply = self._replies.popleft()[1]
            pieces.append(reply.data)
            apart = apart or reply.split
            then = reply.then
        data = b"".join(pieces)
        step = 1 if apart else max(1, len(data))
        for start in range(0, len(data), step):
            session.write(data[start : start + step])
        if then is Then.RESET:
            session.reset()
        return then is Then.GO_ON

    def _handle(self, request: Request) -> None:
        simulator = self._simulator
        simulator.record.add(request)
        answer = self._service.answer(request)
        where: str | int = request.path
        if request.path == "/DATA.BIN":
            where = self._data_requests = self._data_requests + 1
        fault = simulator.faults.get(where)
        if fault is not None:
            self._reply(FAULTS[fault](answer.body if answer else b""))
        elif answer is not None:
            self._reply(Reply(answer.encode()))

    def _reply(self, reply: Reply) -> None:
        start = monotonic()
        if self._replies and not self._simulator.pipelined:
            start = max(start, self._replies[-1][0])
        self._replies.append((start + self._simulator.delay, reply))
