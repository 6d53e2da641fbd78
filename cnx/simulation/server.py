"""Server: the threads of a simulator, one for each address and one for each client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from cnx.errors import ConnectError
from cnx.faults.fault import Ending
from cnx.faults.plan import Plan
from cnx.logs import logger
from cnx.simulation.channels import Link
from cnx.simulation.endpoints import Endpoint
from cnx.simulation.session import Session
from cnx.simulation.timers import Timers
from cnx.threads.hook import report_error
from cnx.threads.starting import start_thread

__all__ = ["Server"]

log = logger(__name__)
STOP_TIMEOUT = 2.0
NO_FAULTS = Plan(())


class Handler(Protocol):
    """The part of a simulator that its server calls."""

    def serve(self, session: Session) -> None:
        """Serve one client."""

    def serve_datagram(self, data: bytes, address: tuple[str, int]) -> bytes | None:
        """Answer one datagram."""

    def on_stop(self) -> None:
        """Called when all sessions were asked to end."""


class Server:
    """Accepts clients and serves each on a thread of its own. Thread-safe.

    Args:
        name: for threads and logs.
        max_sessions: clients at a time.
        handler: serves the clients.
    """

    def __init__(self, name: str, max_sessions: int, handler: Handler) -> None:
        self._name = name
        self._max_sessions = max_sessions
        self._handler = handler
        self._lock = threading.Lock()
        self._endpoints: list[Endpoint] = []
        self._sessions: list[Session] = []
        self._threads: list[threading.Thread] = []
        self._timers = Timers(f"outage {name}")
        self._plan: Plan | None = None
        self._running = False
        self._stopped = threading.Event()
        self._plugged = threading.Event()  # cleared while the server is unplugged

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._running

    @property
    def urls(self) -> list[str]:
        """The addresses."""
        with self._lock:
            return [endpoint.url for endpoint in self._endpoints]

    @property
    def sessions(self) -> list[Session]:
        """The present clients."""
        with self._lock:
            return list(self._sessions)

    def add(self, endpoint: Endpoint) -> str:
        """Accept clients at another endpoint, too; return its URL."""
        with self._lock:
            self._endpoints.append(endpoint)
            if self._running:
                self._spawn("accept", endpoint.url, self._accept, endpoint, self._stopped)
        return endpoint.url

    def start(self) -> None:
        """Start accepting clients; raises OSError, ``ConnectError`` without a thread to spare."""
        with self._lock:
            if self._running:
                return
            self._stopped = threading.Event()
            self._plugged.set()
            self._timers = Timers(f"outage {self._name}")
            try:
                for endpoint in self._endpoints:
                    endpoint.open()
                self._running = True
                for endpoint in self._endpoints:
                    self._spawn("accept", endpoint.url, self._accept, endpoint, self._stopped)
            except BaseException:  # such as an address in use, or no thread to spare
                self._running = False
                self._stopped.set()
                for endpoint in self._endpoints:
                    endpoint.wake()
                    endpoint.close()
                raise
        self._arm()

    def stop(self, ending: Ending) -> None:
        """End all links, join all threads and release all addresses, within 2 s."""
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
            self._handler.on_stop()
        except Exception as error:
            report_error(error, f"{self._name}: on_stop() failed")
        for thread in threads:
            self._join(thread, expiry)
        self._timers.stop(max(0.0, expiry - time.monotonic()))
        for endpoint in endpoints:
            endpoint.close()

    def wait_stopped(self, seconds: float) -> bool:
        """Wait for a stop; return whether there was one."""
        return self._stopped.wait(seconds)

    def drop_sessions(self) -> None:
        """Close all present links."""
        for session in self.sessions:
            session.end(Ending.CLOSE)

    def unplug(self) -> None:
        """Vanish until ``plug()``, if the server runs."""
        self._leave()

    def plug(self) -> None:
        """Come back after ``unplug()``."""
        self._plugged.set()

    def inject(self, plan: Plan | None) -> None:
        """Apply other faults; raises RuntimeError."""
        with self._lock:
            if plan is not None and self._plan is not None:
                raise RuntimeError(f"{self._name} has faults already, {self._plan}; pass all of them in one call")
            previous, self._plan = self._plan, plan
            sessions = list(self._sessions)
        self._timers.cancel()
        if previous is not None and previous.outages:
            self.plug()
        for session in sessions:
            session.follow((plan or NO_FAULTS).enrol())
        self._arm()

    def _arm(self) -> None:
        plan = self._plan
        if self._running and plan is not None:
            for after, seconds in plan.outages:
                self._timers.start(after, self._be_away, plan, seconds)

    def _be_away(self, plan: Plan, seconds: float) -> None:
        if self._leave(plan):
            self._timers.start(seconds, self.plug)

    def _leave(self, plan: Plan | None = None) -> bool:
        """Vanish; return whether that was possible: the server runs, and ``plan`` still applies."""
        with self._lock:
            # After a stop, nothing would wake the threads that wait for plug().
            if not self._running or plan not in (None, self._plan):
                return False
            self._plugged.clear()
            endpoints, sessions = list(self._endpoints), list(self._sessions)
        for endpoint in endpoints:
            endpoint.wake()
        for session in sessions:
            session.end(Ending.RESET)
        return True

    def _spawn(self, what: str, address: str, target: Callable[..., None], *arguments: object) -> None:
        """Start a thread that ``stop()`` joins. The caller holds the lock."""
        thread = start_thread(target, f"cnx {what} {address}", *arguments)
        self._threads = [known for known in self._threads if known.is_alive()]
        self._threads.append(thread)

    def _join(self, thread: threading.Thread, expiry: float) -> None:
        if thread is not threading.current_thread():
            thread.join(max(0.0, expiry - time.monotonic()))
            if thread.is_alive():
                log.error(
                    "%s: thread %r does not end; its serve() ignores the end of the session", self._name, thread.name
                )

    def _accept(self, endpoint: Endpoint, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                endpoint.open()
                # Checked after opening, as a stop or an unplug before that does not wake accept().
                wanted = self._plugged.is_set() and not stopped.is_set()
                link = endpoint.accept() if wanted else None
            except OSError as error:
                log.error("%s: cannot accept on %s, trying again: %s", self._name, endpoint.url, error)
                stopped.wait(0.1)
                continue
            if link is not None:
                self._admit(link, endpoint, stopped)
            else:
                endpoint.close()
                self._plugged.wait()

    def _admit(self, link: Link, endpoint: Endpoint, stopped: threading.Event) -> None:
        try:
            if endpoint.context is not None:
                link.secure((self._plan or NO_FAULTS).certificate or endpoint.context)
            with self._lock:
                welcome = self._plugged.is_set() and not stopped.is_set()
                if welcome and len(self._sessions) < self._max_sessions:
                    session = Session(link, endpoint.url, (self._plan or NO_FAULTS).receive(link.tls))
                    self._spawn("session", link.address, self._run, session)
                    self._sessions.append(session)
                    return
            if welcome:
                log.warning("%s: %s is refused: %d clients are connected", self._name, link.address, self._max_sessions)
        except ConnectError as error:  # no thread to spare
            log.error("%s: cannot serve %s: %s", self._name, link.address, error)
        except OSError as error:
            log.debug("%s: %s disconnected at once: %s", self._name, link.address, error)
        link.close()

    def _run(self, session: Session) -> None:
        try:
            if session.open():
                serve = self._serve_datagrams if session.datagrams else self._handler.serve
                serve(session)
        except ConnectionError as error:
            log.debug("%s: %s ended: %s", self._name, session.address, error)
        except Exception as error:
            report_error(error, f"{self._name}: serving {session.address} failed")
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
                reply = self._handler.serve_datagram(data, session.sender)
                if reply is not None:
                    session.write(reply)
            except Exception as error:
                report_error(error, f"{self._name}: answering a datagram from {session.sender} failed")
