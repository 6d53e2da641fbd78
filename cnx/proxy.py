"""A proxy between any client and any real server, on which faults can be switched on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import SplitResult, parse_qsl, urlsplit

from cnx.deadline import Deadline
from cnx.errors import ConnectError, PeerClosed
from cnx.logs import logger
from cnx.simulation import Session, Simulator
from cnx.threads.starting import start_thread
from cnx.transports.dialing import open_tcp, open_unix
from cnx.transports.serial_ports import open_serial
from cnx.transports.sockets import SocketOptions
from cnx.transports.transport import CHUNK, Transport

__all__ = ["Proxy"]

log = logger(__name__)
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
        answers: threading.Thread | None = None
        try:
            answers = start_thread(pass_back, f"cnx proxy {session.address}", transport, session)
            while data := session.read():
                transport.write(data, None)
        finally:
            session.close()
            transport.shutdown()
            if answers is not None:
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


ANSWERS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

LINE: dict[str, Callable[[str], object]] = {
    "baudrate": int,
    "bytesize": int,
    "parity": str.upper,
    "stopbits": float,
    **dict.fromkeys(("xonxoff", "rtscts", "dsrdtr", "exclusive"), lambda text: ANSWERS[text.lower()]),
}
"""The settings of a serial line in a URL, and how to read them."""


def _line(query: str) -> dict[str, object]:
    """Return the settings of a serial line; raises ValueError."""
    settings: dict[str, object] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in LINE:
            raise ValueError(f"unknown option {name}; the options are {', '.join(LINE)}")
        try:
            settings[name] = LINE[name](text)
        except (KeyError, ValueError):
            raise ValueError(f"option {name}={text}: it is not a value for {name}") from None
    return settings


def opener(parts: SplitResult) -> Callable[[Deadline], Transport]:
    """Return a function that connects to the server at a URL; raises ValueError for another kind of URL."""
    host, port = parts.hostname, parts.port
    path = "" if parts.scheme in ("unix", "serial") else parts.path.strip("/")
    for part in ("" if parts.scheme == "serial" else parts.query, parts.fragment, parts.username, path):
        if part:
            raise ValueError(f"cannot reach {parts.geturl()!r}: {part!r} means nothing in the URL of a proxy")
    if parts.scheme == "tcp" and host and port:
        return lambda deadline: open_tcp(host, port, deadline, SocketOptions())
    if parts.scheme == "unix" and parts.path:
        return lambda deadline: open_unix(parts.path, deadline)
    if parts.scheme == "serial" and parts.path:
        settings = _line(parts.query)
        return lambda deadline: open_serial(parts.path, {"timeout": None, **settings}, deadline)
    raise ValueError(
        f"cannot reach {parts.geturl()!r}: it must be tcp://HOST:PORT, unix:///PATH or serial:///DEVICE?baudrate=9600"
    )
