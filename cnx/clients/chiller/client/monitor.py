"""Monitoring a chiller: its state, alarms, warnings and values, reported as signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from types import TracebackType
from typing import TypeVar

from cnx.clients.chiller.client.commands import ChillerCommands
from cnx.clients.chiller.client.line import checked_seconds
from cnx.clients.chiller.client.status import AlarmReport, Telemetry
from cnx.clients.chiller.protocol.values import ControlState, Warnings, Watchdog
from cnx.errors import CnxError
from cnx.logs import logger
from cnx.signals.subscriptions import Signal, SignalName, Subscription, emit, subscribe
from cnx.threads.condition import Gate
from cnx.threads.hook import report_error
from cnx.threads.locks import Lock
from cnx.threads.starting import new_thread, start

__all__ = ["ChillerMonitor"]

log = logger(__name__)

STOP_TIMEOUT = 2.0
"""Seconds that ``stop()`` waits for the thread."""

Flags = TypeVar("Flags", bound=int)


class ChillerMonitor:
    """Checks a chiller and reads its values at intervals, on a thread of its own, and emits signals.

    It keeps running while the link is down, and checks again as soon as there is a new link. ::

        with ConnectionManager(chiller), ChillerMonitor(chiller) as monitor:
            subscribe(monitor, ChillerMonitor.Signals.TELEMETRY, print)

    Handlers run on the thread of the monitor and may run commands. On an alarm, the monitor first emits
    ``ALARM_RAISED``, then puts the unit in standby, and then reads the details, which resets them in the unit.

    :meth:`start`, :meth:`stop` and :meth:`look` are thread-safe. A program with a thread of its own can call
    :meth:`check` and :meth:`measure` there instead of starting the monitor.

    Attributes:
        chiller: the client or unit.
        watchdog: the last state; ``None`` while the unit cannot be reached.
        warnings: the last warnings.
        report: the details of the present alarm; ``None`` without an alarm.
        telemetry: the last values; ``None`` before the first.

    Args:
        chiller: a client or a unit of a bus.
        watchdog_interval: seconds between two checks, 0.001 to 3600; with more than 10, the unit leaves remote
            mode between them ("TTK Serial Communication Protocol Release II", revision X2.003).
        telemetry_interval: seconds between the end of one round of values and the next, 0.001 to 3600.
    """

    class Signals(Signal):
        """What the monitor emits. A handler gets the arguments that it names."""

        STATUS_CHANGED = SignalName("status-changed", "status", "previous", "reason")
        """``status``, ``previous``: a ``Watchdog``, or ``None`` while the unit cannot be reached; ``reason``: why."""
        ALARM_RAISED = SignalName("alarm-raised")
        """There is an alarm. No argument; emitted before any other step is taken."""
        ALARM_DETAILS = SignalName("alarm-details", "report")
        """More details of the alarm were read. ``report``: an ``AlarmReport``."""
        ALARM_CLEARED = SignalName("alarm-cleared", "report")
        """The alarm is over. ``report``: an ``AlarmReport`` with everything that was read during it."""
        WARNING_CHANGED = SignalName("warning-changed", "warnings", "previous")
        """``warnings``, ``previous``: ``Warnings``."""
        TELEMETRY = SignalName("telemetry", "telemetry")
        """``telemetry``: a ``Telemetry``."""

    def __init__(
        self, chiller: ChillerCommands, *, watchdog_interval: float = 5.0, telemetry_interval: float = 7.0
    ) -> None:
        self.chiller = chiller
        self.watchdog_interval = checked_seconds("watchdog_interval", watchdog_interval)
        self.telemetry_interval = checked_seconds("telemetry_interval", telemetry_interval)
        self.watchdog: Watchdog | None = None
        self.warnings = Warnings(0)
        self.report: AlarmReport | None = None
        self.telemetry: Telemetry | None = None
        self._put_in_standby = False  # by this monitor, since the present alarm was raised
        self._wake = Gate()
        self._lock = Lock()  # for start() and stop(), which a signal handler may call
        self._thread: threading.Thread | None = None  # None when stopped, or about to be
        self._last_thread: threading.Thread | None = None
        self._subscriptions: list[Subscription] = []
        self._check_at = self._measure_at = 0.0

    # -- the thread ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self._lock:
            if self._thread is not None:
                return
            line = self.chiller.line
            name = f"cnx chiller monitor {line.address}/{self.chiller.device_id:02d}"
            last = self._last_thread
            self._thread = thread = new_thread(self._run, name, last)
            signals = line.Signals.CONNECTED, line.Signals.DISCONNECTED
            self._subscriptions = [subscribe(line, signal, self.look) for signal in signals]
            try:
                start(thread)
            except BaseException:  # for instance because there can be no more threads
                self._thread = None
                for subscription in self._subscriptions:
                    subscription.cancel()
                raise
            self._last_thread = thread

    def stop(self) -> None:
        """Stop the thread. Returns within 2 s, from any thread; a command in progress ends with its reply timeout."""
        with self._lock:
            thread, self._thread = self._thread, None
            subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            subscription.cancel()
        self._wake.open()
        if thread is not None and thread is not threading.current_thread():
            thread.join(STOP_TIMEOUT)

    def look(self) -> None:
        """Check and measure at once, for instance after a command that changes the state."""
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
            last.join()  # it may still be in its last command
        self._check_at = self._measure_at = 0.0
        while self._thread is threading.current_thread():
            try:
                self._check_if_due()
                if monotonic() >= self._measure_at:
                    self._measure_at = float("inf")
                    self._measure(self._check_if_due)
                    self._measure_at = min(self._measure_at, monotonic() + self.telemetry_interval)
            except Stopped:
                return
            except Exception as error:
                report_error(error, f"{self.chiller.line.name}: a round of the monitor failed")
            self._wake.wait(max(0.0, min(self._check_at, self._measure_at) - monotonic()))

    def _check_if_due(self) -> None:
        """Check if the interval is over; also called between the commands of a round of values, which may be long.

        Raises:
            Stopped: the monitor was stopped.
        """
        if self._thread is not threading.current_thread():
            raise Stopped
        now = monotonic()
        if now >= self._check_at:
            self._check_at = now + self.watchdog_interval
            self.check()

    # -- one round -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Read the state on the calling thread, then alarms and warnings if it says so, and emit what changed.

        Not thread-safe; not to be called while the monitor runs.
        """
        try:
            status = self.chiller.watchdog()
        except CnxError as error:
            self._report_status(None, error)
            return
        self._report_status(status, None)
        if status.alarm or self.report is not None:
            self._follow_alarm(status.alarm, status.state)
        self._follow_warnings(status.warning)

    def measure(self) -> None:
        """Read all values on the calling thread and emit them.

        Not thread-safe; not to be called while the monitor runs.
        """
        self._measure(None)

    def _measure(self, before_each: Callable[[], object] | None) -> None:
        try:
            self.telemetry = self.chiller.telemetry(before_each)
        except CnxError as error:
            log.info("%s: no telemetry: %s", self.chiller.line.name, error)
            return
        emit(self, self.Signals.TELEMETRY, telemetry=self.telemetry)

    def _report_status(self, status: Watchdog | None, reason: CnxError | None) -> None:
        previous, self.watchdog = self.watchdog, status
        if status != previous:
            emit(self, self.Signals.STATUS_CHANGED, status=status, previous=previous, reason=reason)

    def _follow_alarm(self, lasts: bool, state: ControlState) -> None:
        """Report an alarm, put the unit in standby, read the details, and report the end of the alarm.

        A step that fails is repeated in the next round, and does not prevent the other steps.
        """
        is_new = self.report is None
        if self.report is None:
            self.report, self._put_in_standby = AlarmReport(), False
            emit(self, self.Signals.ALARM_RAISED)
        # Not only once: the unit may have been started again during the alarm.
        if lasts and not (self._put_in_standby and state is ControlState.STANDBY):
            self._put_in_standby = self._try(self._stop_unit) is not None
        if lasts or not self.report.complete:
            # Reading level 1 resets it, which is safe in standby, or once the front panel has had the time of a
            # round to see the alarm; otherwise the panel may lock the unit until a power cycle.
            self._read_details(level_1=self._put_in_standby or not is_new)
        if not lasts:
            emit(self, self.Signals.ALARM_CLEARED, report=self.report)
            self.report = None

    def _read_details(self, *, level_1: bool) -> None:
        known = self.report or AlarmReport()
        report = known
        if level_1:
            report = replace(report, alarms=joined(report.alarms, self._try(self.chiller.read_and_reset_alarms)))
        report = replace(report, system=joined(report.system, self._try(self.chiller.system_alarms)))
        report = replace(report, sensors=joined(report.sensors, self._try(self.chiller.sensor_alarms)))
        self.report = report
        if report != known:
            emit(self, self.Signals.ALARM_DETAILS, report=report)

    def _follow_warnings(self, any_warning: bool) -> None:
        warnings = self._try(self.chiller.warnings) if any_warning else Warnings(0)
        if warnings is not None and warnings != self.warnings:
            previous, self.warnings = self.warnings, warnings
            emit(self, self.Signals.WARNING_CHANGED, warnings=warnings, previous=previous)

    def _stop_unit(self) -> bool:
        self.chiller.stop()
        return True

    def _try(self, command: Callable[[], Flags]) -> Flags | None:
        """Return what ``command`` returns, or ``None`` if it fails, so that the other steps are taken nevertheless."""
        try:
            return command()
        except CnxError as error:
            log.warning("%s: a step after an alarm or warning failed: %s", self.chiller.line.name, error)
            return None


class Stopped(Exception):
    """The monitor was stopped."""


def joined(known: Flags | None, found: Flags | None) -> Flags | None:
    """Return the bits of both; ``None`` means that they were not read."""
    if known is None or found is None:
        return found if known is None else known
    return type(found)(known | found)
