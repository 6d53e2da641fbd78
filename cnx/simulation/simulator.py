"""The server that every simulator is."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from cnx.faults.fault import Ending
from cnx.faults.plan import Plan
from cnx.simulation.endpoints import Endpoint, PtyEndpoint, TcpEndpoint, UdpEndpoint, UnixEndpoint, endpoint_at
from cnx.simulation.links import Link
from cnx.simulation.session import Session
from cnx.simulation.timers import Timers

__all__ = ["Simulator"]

log = logging.getLogger(__name__)
STOP_TIMEOUT = 2.0
NO_FAULTS = Plan(())
SimulatorT = TypeVar("SimulatorT", bound="Simulator")


class Simulator:
    """A threaded server; subclass it and override ``serve()``, or ``serve_datagram()`` for UDP, or both.

    Every method may be called from any thread. A simulator can be started again after a stop, on the same addresses.

    Args:
        name: for threads and logs.
        max_sessions: clients at a time; more are closed at once.
    """

    def __init__(self, name: str = "simulator", *, max_sessions: int = 1000) -> None:
        if max_sessions < 1:
            raise ValueError(f"max_sessions is at least 1, not {max_sessions}")
        self.name = name
        self.max_sessions = max_sessions
        self._lock = threading.Lock()
        self._endpoints: list[Endpoint] = []
        self._sessions: list[Session] = []
        self._threads: list[threading.Thread] = []
        self._timers = Timers(f"outage {name}")
        self._plan: Plan | None = None
        self._running = False
        self._stopped = threading.Event()
        self._plugged = threading.Event()  # cleared while the whole simulator is away

    def serve(self, session: Session) -> None:
        """Serve one client, on a thread of its own; return or raise ConnectionError to close the link."""
        raise NotImplementedError(f"{type(self).__name__} does not override serve()")

    def serve_datagram(self, data: bytes, address: tuple[str, int]) -> bytes | None:
        """Return the answer to one datagram, or ``None`` for no answer."""
        raise NotImplementedError(f"{type(self).__name__} does not override serve_datagram()")

    def on_stop(self) -> None:
        """Called at every stop, when all sessions were told to end: end and join your own threads."""

    def listen_tcp(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> str:
        """Listen on a TCP port, any free one by default, and return the URL, ``tcp://`` or ``tls://``.

        Raises:
            ValueError: the port is not one.
            OSError: the address cannot be had.
        """
        return self._listen(TcpEndpoint(host, port, tls))

    def listen_unix(self, path: str) -> str:
        """Listen on a unix socket and return the ``unix://`` URL; raises OSError."""
        return self._listen(UnixEndpoint(path))

    def listen_pty(self) -> str:
        """Open a pseudo terminal and return the ``serial://`` URL of the client's side; raises OSError.

        The name stays the same when the line is unplugged or the simulator is started again. The line is one
        session, however often a client opens and closes it.
        """
        return self._listen(PtyEndpoint())

    def listen_udp(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Answer datagrams with ``serve_datagram()`` and return the ``udp://`` URL; raises ValueError, OSError."""
        return self._listen(UdpEndpoint(host, port))

    def listen(self, url: str) -> str:
        """Listen on ``tcp://HOST:PORT``, ``udp://HOST:PORT``, ``unix:///PATH`` or ``pty:``, and return the full URL.

        Raises:
            ValueError: the URL is none of these.
            OSError: the address cannot be had.
        """
        return self._listen(endpoint_at(url))

    @property
    def urls(self) -> list[str]:
        """Where clients come in, in the order of the ``listen_`` calls."""
        return [endpoint.url for endpoint in self._endpoints]

    @property
    def sessions(self) -> list[Session]:
        """The clients of this moment."""
        with self._lock:
            return list(self._sessions)

    @property
    def running(self) -> bool:
        """Whether it was started, and not stopped."""
        return self._running

    def start(self) -> None:
        """Take clients, on every address. Without effect when it runs; raises OSError."""
        with self._lock:
            if self._running:
                return
            for endpoint in self._endpoints:
                endpoint.open()
            self._stopped = threading.Event()
            self._running = True
            self._plugged.set()
            self._timers = Timers(f"outage {self.name}")
            for endpoint in self._endpoints:
                self._spawn("accept", endpoint.url, self._accept, endpoint, self._stopped)
        self._arm()

    def stop(self) -> None:
        """Close all links in order, join all threads and give all addresses back, within 2 s."""
        self._shut_down(Ending.CLOSE)

    def kill(self) -> None:
        """Stop as a program does that is killed: TCP clients see a reset."""
        self._shut_down(Ending.RESET)

    def drop_sessions(self) -> None:
        """Close all links of this moment; new clients are welcome."""
        for session in self.sessions:
            session.end(Ending.CLOSE)

    def unplug(self) -> None:
        """Vanish until ``plug()``: links are reset, ports are closed, serial lines hang up and lose their names."""
        self._plugged.clear()
        with self._lock:
            endpoints = list(self._endpoints)
        for endpoint in endpoints:
            endpoint.wake()
        for session in self.sessions:
            session.end(Ending.RESET)

    def plug(self) -> None:
        """Be there again after ``unplug()``, on the same addresses."""
        self._plugged.set()

    def inject(self, plan: Plan | None) -> None:
        """Put faults into force, for links that are open and those to come, or end them with ``None``.

        Raises:
            RuntimeError: there are faults already.
        """
        with self._lock:
            if plan is not None and self._plan is not None:
                raise RuntimeError(f"{self.name} has faults already, {self._plan}; give all of them at once")
            self._plan = plan
            sessions = list(self._sessions)
        self._timers.cancel()
        self.plug()
        for session in sessions:
            session.follow((plan or NO_FAULTS).enrol())
        self._arm()

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether the simulator was stopped meanwhile: for a pace that does not hold up a stop."""
        return self._stopped.wait(seconds)

    def __enter__(self: SimulatorT) -> SimulatorT:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self._running else "stopped"
        return f"<{type(self).__name__} {self.name} {state} {' '.join(self.urls)}>"

    def _listen(self, endpoint: Endpoint) -> str:
        with self._lock:
            self._endpoints.append(endpoint)
            if self._running:
                self._spawn("accept", endpoint.url, self._accept, endpoint, self._stopped)
        return endpoint.url

    def _spawn(self, what: str, address: str, target: Callable[..., None], *arguments: object) -> None:
        """Start a thread that ``stop()`` joins. The caller holds the lock."""
        thread = threading.Thread(target=target, args=arguments, name=f"cnx {what} {address}", daemon=True)
        thread.start()
        self._threads = [known for known in self._threads if known.is_alive()]
        self._threads.append(thread)

    def _arm(self) -> None:
        plan = self._plan
        if self._running and plan is not None:
            for after, seconds in plan.outages:
                self._timers.start(after, self._be_away, plan, seconds)

    def _be_away(self, plan: Plan, seconds: float) -> None:
        if plan is self._plan:
            self.unplug()
            self._timers.start(seconds, self.plug)

    def _accept(self, endpoint: Endpoint, stopped: threading.Event) -> None:
        while self._plugged.wait() and not stopped.is_set():
            try:
                endpoint.open()
                # Asked after opening: a stop or an unplugging that came before it would not wake accept().
                wanted = self._plugged.is_set() and not stopped.is_set()
                link = endpoint.accept() if wanted else None
            except OSError as error:
                log.error("%s: cannot accept on %s, trying again: %s", self.name, endpoint.url, error)
                stopped.wait(0.1)
                continue
            if link is not None:
                self._admit(link, endpoint, stopped)
            elif not self._plugged.is_set():
                endpoint.close()

    def _admit(self, link: Link, endpoint: Endpoint, stopped: threading.Event) -> None:
        try:
            plan = self._plan or NO_FAULTS
            if endpoint.context is not None:
                link.secure(plan.certificate or endpoint.context)
            with self._lock:
                open_now = self._plugged.is_set() and not stopped.is_set()
                if open_now and len(self._sessions) < self.max_sessions:
                    session = Session(link, endpoint.url, plan.enrol())
                    self._spawn("session", link.address, self._run, session)
                    self._sessions.append(session)
                    return
            if open_now:
                log.warning("%s: no room for %s beside %d others", self.name, link.address, self.max_sessions)
        except (OSError, RuntimeError) as error:
            log.error("%s: cannot serve %s: %s", self.name, link.address, error)
        link.close()

    def _run(self, session: Session) -> None:
        try:
            if session.open():
                serve = self._serve_datagrams if session.datagrams else self.serve
                serve(session)
        except ConnectionError as error:
            log.debug("%s: %s ended: %s", self.name, session.address, error)
        except Exception:
            log.exception("%s: serving %s failed", self.name, session.address)
        finally:
            session.finish()
            with self._lock:
                self._sessions.remove(session)

    def _serve_datagrams(self, session: Session) -> None:
        while True:
            data = session.read()
            if session.closed:
                return
            try:
                reply = self.serve_datagram(data, session.sender)
                if reply is not None:
                    session.write(reply)
            except Exception:
                log.exception("%s: answering a datagram from %s failed", self.name, session.sender)

    def _shut_down(self, ending: Ending) -> None:
        expiry = time.monotonic() + STOP_TIMEOUT
        with self._lock:
            self._running = False
            self._stopped.set()
            self._plugged.set()
            sessions, threads, endpoints = list(self._sessions), list(self._threads), list(self._endpoints)
        for endpoint in endpoints:
            endpoint.wake()
        for session in sessions:
            session.end(ending)
        try:
            self.on_stop()
        except Exception:
            log.exception("%s: on_stop() failed", self.name)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, expiry - time.monotonic()))
                if thread.is_alive():
                    log.error("%s: thread %r does not end; its serve() ignores the end", self.name, thread.name)
        self._timers.stop(STOP_TIMEOUT)
        for endpoint in endpoints:
            endpoint.close()
