"""The two links of a client that has a master and a backup server."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic

from cnx.clients.smartbus.client.link import BusLink
from cnx.clients.smartbus.client.uplinks import Uplinks
from cnx.connections.connection import STOP_TIMEOUT
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError, fresh
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe_weakly
from cnx.threads.starting import new_thread, start

__all__ = ["Pair"]

FAILED = (State.RECOVERING, State.DISCONNECTED)


class Pair:
    """Keeps both links up, each with a manager of its own, from the first success until it is released. Thread-safe.

    Args:
        links: the links.
        managers: those of the links, in the same order.
        uplinks: knows which links are up.
    """

    def __init__(self, links: Sequence[BusLink], managers: Sequence[ConnectionManager], uplinks: Uplinks) -> None:
        self._links = links
        self._managers = managers
        self._uplinks = uplinks
        self._changed = uplinks.changed
        self._ender: threading.Thread | None = None  # the thread that disconnects the managers
        self._again = False  # it has to disconnect what has connected since it began
        for manager in self._managers:
            subscribe_weakly(manager, manager.Signals.STATE_CHANGED, self._on_state)

    def establish(self, deadline: Deadline) -> None:
        """Connect to both servers; return when ``CONNECTED`` was emitted for the first, or when the links have to end.

        Raises:
            ConnectError: neither server accepted the registration.
            TimedOut, Cancelled: the deadline ended.
        """
        with deadline.waking(self._changed.notify):
            self._changed.wait_for(lambda: self._ender is None or deadline.cancelled, deadline.remaining())
            deadline.check("waiting for the end of the last links")
            for manager in self._managers:
                manager.connect(wait=False)
            self._changed.wait_for(lambda: self._is_decided() or deadline.cancelled, deadline.remaining())
        if self._uplinks.announced:
            return
        failure = self._failure()
        # A link that comes up just now ends with this reason. It is Cancelled only if a stop was asked for.
        asked = deadline.cancelled
        self.release(Cancelled("the attempt was cancelled") if asked else self._reason(failure), STOP_TIMEOUT)
        deadline.check(f"connecting to {' and '.join(link.address for link in self._links)}")
        if failure is not None:
            raise fresh(failure)

    def release(self, reason: BaseException, timeout: float) -> None:
        """End both links and all attempts; wait for that at most ``timeout`` seconds."""
        self._uplinks.close(reason)
        for link in self._links:
            link.release(reason, 0.0)
        # On a thread of its own, as an attempt may be waiting for the calling thread.
        with self._changed.lock:
            self._again = True
            ender, begin = self._ender, self._ender is None
            if begin:
                name = f"cnx release {self._links[0].name}"
                ender = self._ender = new_thread(self._end, name)
        assert ender is not None
        if begin:
            try:
                start(ender)
            except ConnectError:  # the system has no more threads
                self._end()
        if timeout and not any(link.is_current_thread() for link in self._links):
            end = monotonic() + timeout
            self._changed.wait_for(lambda: self._ender is not ender, timeout)
            if self._ender is not ender and ender.is_alive():
                ender.join(max(0.0, end - monotonic()))

    def _end(self) -> None:
        """Disconnect both managers, once more if an attempt has begun meanwhile."""
        while self._is_wanted_again():
            for manager in self._managers:
                manager.disconnect()
        self._changed.notify()

    def _is_wanted_again(self) -> bool:
        with self._changed.lock:
            again, self._again = self._again, False
            if not again:
                self._ender = None
        return again

    def _is_decided(self) -> bool:
        """Return whether the attempt has succeeded or failed, as far as both links go."""
        uplinks = self._uplinks
        if uplinks.announced or uplinks.reason is not None:
            return True
        return not uplinks.up and all(manager.state in FAILED for manager in self._managers)

    def _reason(self, failure: BaseException | None) -> BaseException:
        return self._uplinks.reason or failure or ConnectError("neither server accepted the registration")

    def _failure(self) -> BaseException | None:
        """Return why the servers failed, preferring a reason that may pass; ``None`` if they did not fail."""
        if self._uplinks.reason is not None:
            return None
        failures = [manager.reason for manager in self._managers if manager.state in FAILED]
        found = [error for error in failures if isinstance(error, Exception)]
        hopeful = [error for error in found if not getattr(error, "fatal", False)]
        return next(iter(hopeful + found), ConnectError("neither server accepted the registration"))

    def _on_state(self) -> None:
        self._changed.notify()
