"""A thread that looks after a chiller."""

from __future__ import annotations

import logging
import threading
from time import monotonic
from types import TracebackType

from cnx.clients.chiller.client.chiller import Chiller
from cnx.clients.chiller.client.line import checked_seconds
from cnx.clients.chiller.client.watch import ChillerWatch
from cnx.signals.subscriptions import Subscription, subscribe
from cnx.threads.condition import Gate
from cnx.threads.locks import Lock

__all__ = ["ChillerMonitor"]

log = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0


class ChillerMonitor(ChillerWatch):
    """Checks a chiller and reads its values again and again, on one thread, and tells what is new.

    It goes on through losses of the link; as soon as there is a link again, it looks. ::

        with ConnectionManager(chiller), ChillerMonitor(chiller) as monitor:
            subscribe(monitor, ChillerMonitor.Signals.TELEMETRY, print)

    Handlers run on the monitor's thread and may run commands. On an alarm it first tells it, then puts the
    unit in standby, and then reads the details, which resets them in the unit.

    Args:
        chiller: a client or a unit of a bus.
        watchdog_interval: seconds between two checks; more than 10 lets a unit leave remote mode.
        telemetry_interval: seconds between the end of one round of values and the next.
    """

    def __init__(self, chiller: Chiller, *, watchdog_interval: float = 5.0, telemetry_interval: float = 7.0) -> None:
        super().__init__(chiller)
        self.watchdog_interval = checked_seconds("watchdog_interval", watchdog_interval)
        self.telemetry_interval = checked_seconds("telemetry_interval", telemetry_interval)
        self._wake = Gate()
        self._lock = Lock()  # of starting and stopping, also by a signal handler
        self._thread: threading.Thread | None = None
        self._last: threading.Thread | None = None
        self._subscriptions: list[Subscription] = []
        self._check_at = self._measure_at = 0.0

    def start(self) -> None:
        """Begin; without effect when it runs."""
        with self._lock:
            if self._thread is not None:
                return
            line = self.chiller.line
            name = f"cnx chiller monitor {line.address}/{self.chiller.device_id:02d}"
            self._thread = thread = threading.Thread(target=self._run, name=name, args=(self._last,), daemon=True)
            signals = line.Signals.CONNECTED, line.Signals.DISCONNECTED
            self._subscriptions = [subscribe(line, signal, self.look) for signal in signals]
            try:
                thread.start()
            except BaseException:  # such as: no more threads
                self._thread = None
                for subscription in self._subscriptions:
                    subscription.cancel()
                raise
            self._last = thread

    def stop(self) -> None:
        """End, within 2 s, from any thread; a command that is under way ends by itself after its reply timeout."""
        with self._lock:
            thread, self._thread = self._thread, None
            subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            subscription.cancel()
        self._wake.open()
        if thread is not None and thread is not threading.current_thread():
            thread.join(STOP_TIMEOUT)

    def look(self) -> None:
        """Make the next round at once, for instance after a command that changes the state."""
        self._check_at = self._measure_at = 0.0
        self._wake.open()

    def __enter__(self) -> ChillerMonitor:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, last: threading.Thread | None) -> None:
        if last is not None:
            last.join()  # its last command may still be under way
        self._check_at = self._measure_at = 0.0
        while self._thread is threading.current_thread():
            try:
                self._check_if_due()
                if monotonic() >= self._measure_at:
                    self._measure_at = float("inf")
                    self.measure(self._check_if_due)
                    self._measure_at = min(self._measure_at, monotonic() + self.telemetry_interval)
            except Stopped:
                return
            except Exception:
                log.exception("%s: a round of the monitor failed", self.chiller.line.name)
            self._wake.wait(max(0.0, min(self._check_at, self._measure_at) - monotonic()))

    def _check_if_due(self) -> None:
        """Check if it is time to, also in the middle of a long round of values.

        Raises:
            Stopped: the monitor was stopped.
        """
        if self._thread is not threading.current_thread():
            raise Stopped
        now = monotonic()
        if now >= self._check_at:
            self._check_at = now + self.watchdog_interval
            self.check()


class Stopped(Exception):
    """The monitor was stopped."""
