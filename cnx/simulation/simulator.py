"""Simulator: the base class of all simulators."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlsplit

from cnx.faults.fault import Ending
from cnx.faults.plan import Plan
from cnx.simulation.endpoints import PtyEndpoint, TcpEndpoint, UdpEndpoint, UnixEndpoint
from cnx.simulation.server import Server
from cnx.simulation.session import Session

__all__ = ["Simulator"]

SimulatorT = TypeVar("SimulatorT", bound="Simulator")


class Simulator:
    """A threaded server. Subclasses override ``serve()``, or ``serve_datagram()`` for UDP, or both. Thread-safe.

    A simulator can be started again after a stop, on the same addresses.

    Args:
        name: for threads and logs.
        max_sessions: clients at a time; further ones are closed at once.
    """

    def __init__(self, name: str = "simulator", *, max_sessions: int = 1000) -> None:
        if max_sessions < 1:
            raise ValueError(f"max_sessions must be at least 1, not {max_sessions}")
        self.name = name
        self.max_sessions = max_sessions
        self._server = Server(name, max_sessions, self)

    def serve(self, session: Session) -> None:
        """Serve one client, on a thread of its own; return or raise ConnectionError to close the link."""
        raise NotImplementedError(f"{type(self).__name__} does not override serve()")

    def serve_datagram(self, data: bytes, address: tuple[str, int]) -> bytes | None:
        """Return the answer to one datagram, or ``None`` for no answer."""
        raise NotImplementedError(f"{type(self).__name__} does not override serve_datagram()")

    def on_stop(self) -> None:
        """Called at every stop, after all sessions were asked to end: end and join your own threads here."""

    def listen_tcp(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> str:
        """Listen on a TCP port, any free one by default, and return the URL, ``tcp://`` or ``tls://``.

        Raises:
            ValueError: the port is invalid.
            OSError: the address is not available.
        """
        return self._server.add(TcpEndpoint(host, port, tls))

    def listen_unix(self, path: str) -> str:
        """Listen on a unix socket and return the ``unix://`` URL; raises OSError."""
        return self._server.add(UnixEndpoint(path))

    def listen_pty(self) -> str:
        """Open a pseudo terminal and return the ``serial://`` URL of the client's side; raises OSError.

        The name stays the same when the line is unplugged or the simulator is started again. The line is one
        session, however often a client opens and closes it.
        """
        return self._server.add(PtyEndpoint())

    def listen_udp(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Answer datagrams with ``serve_datagram()`` and return the ``udp://`` URL.

        Raises:
            ValueError: the port is invalid.
            TypeError: the class does not override ``serve_datagram()``.
            OSError: the address is not available.
        """
        if type(self).serve_datagram is Simulator.serve_datagram:
            raise TypeError(f"{type(self).__name__} does not answer datagrams: it does not override serve_datagram()")
        return self._server.add(UdpEndpoint(host, port))

    def listen(self, url: str) -> str:
        """Listen on ``tcp://HOST:PORT``, ``udp://HOST:PORT``, ``unix:///PATH`` or ``pty:``, and return the full URL.

        Raises:
            ValueError: the URL is none of these, or has more parts, such as a query, which would mean nothing.
            TypeError: as ``listen_udp()``.
            OSError: the address is not available.
        """
        parts = urlsplit(url)
        path = "" if parts.scheme == "unix" else parts.path.strip("/")
        for part in (parts.query, parts.fragment, parts.username, path):
            if part:
                raise ValueError(f"cannot listen on {url!r}: {part!r} means nothing in the URL of a simulator")
        if parts.scheme in ("tcp", "udp") and parts.hostname and parts.port is not None:
            listen = self.listen_tcp if parts.scheme == "tcp" else self.listen_udp
            return listen(parts.hostname, parts.port)
        if parts.scheme == "unix" and parts.path:
            return self.listen_unix(parts.path)
        if url.rstrip(":/") == "pty":
            return self.listen_pty()
        raise ValueError(f"cannot listen on {url!r}: it must be tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or pty:")

    @property
    def urls(self) -> list[str]:
        """The URLs that clients connect to, in the order of the ``listen_`` calls."""
        return self._server.urls

    @property
    def sessions(self) -> list[Session]:
        """The present clients."""
        return self._server.sessions

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._server.running

    def start(self) -> None:
        """Start accepting clients, on every address, unless it runs already; raises OSError."""
        self._server.start()

    def stop(self) -> None:
        """Close all links in an orderly way, join all threads and release all addresses, within 2 s."""
        self._server.stop(Ending.CLOSE)

    def kill(self) -> None:
        """Stop like a program that is killed: TCP clients see a reset."""
        self._server.stop(Ending.RESET)

    def drop_sessions(self) -> None:
        """Close all present links; new clients are accepted."""
        self._server.drop_sessions()

    def unplug(self) -> None:
        """Vanish until ``plug()``: links are reset, ports are closed, serial lines hang up and lose their names."""
        self._server.unplug()

    def plug(self) -> None:
        """Come back after ``unplug()``, on the same addresses."""
        self._server.plug()

    def inject(self, plan: Plan | None) -> None:
        """Apply faults to open links and to new ones; ``None`` ends them.

        Raises:
            RuntimeError: there are faults already.
        """
        self._server.inject(plan)

    def wait(self, seconds: float) -> bool:
        """Wait; return whether the simulator was stopped meanwhile. Use it for pauses, as it does not delay a stop."""
        return self._server.wait_stopped(seconds)

    def __enter__(self: SimulatorT) -> SimulatorT:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<{type(self).__name__} {self.name} {state} {' '.join(self.urls)}>"
