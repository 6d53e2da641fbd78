"""A proxy between any client and any real server, on which faults can be switched on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qsl, urlsplit

from cnx.deadline import Deadline
from cnx.errors import ConnectError, PeerClosed
from cnx.simulation import Session, Simulator
from cnx.transports.dialing import open_tcp, open_unix
from cnx.transports.serial_ports import open_serial
from cnx.transports.sockets import SocketOptions
from cnx.transports.transport import CHUNK, Transport

__all__ = ["Proxy"]

log = logging.getLogger(__name__)
JOIN_TIMEOUT = 1.0


class Proxy(Simulator):
    """Connects each of its clients to a real server, and passes bytes on in both directions.

    It is a simulator: clients connect where ``listen_tcp()``, ``listen_pty()`` and the like open an address, and
    faults can be applied. For faults, direction ``"in"`` is what clients send, ``"out"`` what they receive. When one
    side ends, the other side is ended in the same way, with a FIN or a reset.

    Args:
        target: the server: ``tcp://HOST:PORT``, ``unix:///PATH`` or ``serial:///dev/ttyUSB0?baudrate=9600``, with any
            setting of pyserial. A serial port has one client at a time.
        connect_timeout: seconds to reach the server; a client is reset if that fails.
        name: for threads and logs.
        max_sessions: number of clients at a time.

    Raises:
        ValueError: the target is none of these.
    """

    def __init__(
        self, target: str, *, connect_timeout: float = 10.0, name: str = "proxy", max_sessions: int = 1000
    ) -> None:
        parts = urlsplit(target)
        super().__init__(name, max_sessions=1 if parts.scheme == "serial" else max_sessions)
        self.target = target
        self.connect_timeout = connect_timeout
        self._open = opener(parts)

    def serve(self, session: Session) -> None:
        """Pass on what the client sends; another thread passes on the answers of the server."""
        transport = self.reach(session)
        if transport is None:
            session.reset()
            return
        answers = threading.Thread(
            target=pass_back, args=(transport, session), name=f"cnx proxy {session.address}", daemon=True
        )
        answers.start()
        try:
            while data := session.read():
                transport.write(data, None)
        finally:
            session.close()
            transport.shutdown()
            answers.join(JOIN_TIMEOUT)
            transport.close()

    def reach(self, session: Session) -> Transport | None:
        """Connect to the server for one client; return ``None`` if that fails, after logging the reason."""
        deadline = Deadline(self.connect_timeout)
        session.when_ended(deadline.cancel)
        try:
            transport = self._open(deadline)
        except (ConnectError, ConnectionError, TimeoutError) as error:
            self.on_unreachable(session, error)
            return None
        session.when_ended(transport.shutdown)
        return transport

    def on_unreachable(self, session: Session, error: Exception) -> None:
        """Log that the server cannot be reached; the client is reset. Override it to do more."""
        log.warning("%s: no server for %s: %s", self.name, session.address, error)


def pass_back(transport: Transport, session: Session) -> None:
    """Pass on the answers of the server, until the server or the session ends."""
    try:
        while True:
            session.write(transport.read(CHUNK, None), None)
    except PeerClosed:
        session.close()
    except ConnectionError as error:
        log.debug("%s: %s", session.address, error)
        session.reset()


def opener(parts: SplitResult) -> Callable[[Deadline], Transport]:
    """Return a function that connects to the server at a URL; raises ValueError for another kind of URL."""
    host, port = parts.hostname, parts.port
    if parts.scheme == "tcp" and host and port:
        return lambda deadline: open_tcp(host, port, deadline, SocketOptions())
    if parts.scheme == "unix" and parts.path:
        return lambda deadline: open_unix(parts.path, deadline)
    if parts.scheme == "serial" and parts.path:
        settings = {key: int(value) if value.isdigit() else value for key, value in parse_qsl(parts.query)}
        return lambda deadline: open_serial(parts.path, {"timeout": None, **settings}, deadline)
    raise ValueError(
        f"cannot reach {parts.geturl()!r}: it must be tcp://HOST:PORT, unix:///PATH or serial:///DEVICE?baudrate=9600"
    )
