"""A master and its backup: two links of one client."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from cnx.clients.smartbus.client_link import BusLink
from cnx.clients.smartbus.client_peers import Ping
from cnx.connection import STOP_TIMEOUT
from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectError
from cnx.lifecycle import State
from cnx.listener import Listener
from cnx.manager import ConnectionManager
from cnx.signals import subscribe_weakly

__all__ = ["Pair"]


class Pair:
    """Keeps both links up, each by a manager of its own, from the first success until it is released."""

    def __init__(self, links: Sequence[BusLink], listener: Listener) -> None:
        self._links = links
        self._listener = listener
        self._ender: threading.Thread | None = None
        self._managers = [ConnectionManager(link) for link in links]
        self._changed = threading.Condition()
        self._failures: dict[ConnectionManager, BaseException | None] = {}
        for manager in self._managers:
            subscribe_weakly(manager, manager.Signals.STATE_CHANGED, self._on_state)

    def establish(self, deadline: Deadline) -> None:
        """Connect to both servers; return as soon as one has let us in.

        Raises:
            ConnectError: neither did.
            TimedOut, Cancelled: the deadline ended.
        """
        ender = self._ender
        if ender is not None:
            ender.join(deadline.remaining())
        with self._changed:
            self._failures = {}
        for manager in self._managers:
            manager.connect(wait=False)
        with deadline.waking(self._notify), self._changed:
            self._changed.wait_for(lambda: self._is_decided() or deadline.expired, deadline.remaining())
        if any(link.connected for link in self._links):
            return
        self.release(Cancelled("neither server let us in"), STOP_TIMEOUT)
        deadline.check(f"connecting to {' and '.join(link.address for link in self._links)}")
        self._raise_failure()

    def announce(self) -> None:
        """Do nothing: each link tells by itself when it is up."""

    def release(self, reason: BaseException, timeout: float) -> None:
        """End both links and all attempts; wait at most ``timeout`` seconds for that."""
        for link in self._links:
            link.release(reason, 0.0)
        # On a thread of its own: an attempt may wait for the listener, and the listener may be who calls this.
        ender = self._ender
        if ender is None or not ender.is_alive():
            name = f"cnx release {self._links[0].name}"
            ender = self._ender = threading.Thread(target=self._stop, name=name, daemon=True)
            ender.start()
        if timeout and not self._listener.is_current():
            ender.join(timeout)

    def wait_for(self, ping: Ping, timeout: float) -> None:
        """Wait for an answer, which may come over either link."""
        ping.wait(timeout)

    def _stop(self) -> None:
        for manager in self._managers:
            manager.disconnect()

    def _is_decided(self) -> bool:
        return any(link.connected for link in self._links) or len(self._failures) == len(self._managers)

    def _raise_failure(self) -> None:
        """Raise what is worth another attempt, if anything is."""
        failures = [error for error in self._failures.values() if isinstance(error, Exception)]
        for error in failures:
            if not getattr(error, "fatal", False):
                raise error
        raise failures[0] if failures else ConnectError("neither server let us in")

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _on_state(self, sender: ConnectionManager, new: State, reason: BaseException | None) -> None:
        with self._changed:
            if new in (State.RECOVERING, State.DISCONNECTED) and not isinstance(reason, Cancelled):
                self._failures[sender] = reason
            self._changed.notify_all()
