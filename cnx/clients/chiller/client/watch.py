"""Rounds of looking after a chiller: what is asked, in which order, and what is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from cnx.clients.chiller.client.chiller import Chiller
from cnx.clients.chiller.client.status import AlarmReport, Telemetry, read_telemetry
from cnx.clients.chiller.protocol.values import ControlState, Warnings, Watchdog
from cnx.errors import CnxError
from cnx.signals.subscriptions import Signal, emit

__all__ = ["ChillerWatch"]

log = logging.getLogger(__name__)

Flags = TypeVar("Flags", bound=int)


class ChillerWatch:
    """Asks a chiller for its state and values, and tells what is new; each call is one round.

    :class:`~cnx.clients.chiller.ChillerMonitor` makes the rounds on a thread. Not thread-safe.

    Attributes:
        watchdog: the last state; ``None`` while the unit cannot be asked.
        warnings: the last warnings.
        report: what is known about the present alarm; ``None`` without one.
        telemetry: the last values; ``None`` before the first.

    Args:
        chiller: a client or a unit of a bus.
    """

    class Signals(Signal):
        """What is told. A handler gets the arguments that it names."""

        STATUS_CHANGED = "status-changed"
        """``status``, ``previous``: a ``Watchdog``, or ``None`` while the unit cannot be asked; ``reason``: why."""
        ALARM_RAISED = "alarm-raised"
        """There is an alarm. No argument: it is told before anything else is done."""
        ALARM_DETAILS = "alarm-details"
        """More is known about the alarm. ``report``: an ``AlarmReport``."""
        ALARM_CLEARED = "alarm-cleared"
        """The alarm is over. ``report``: an ``AlarmReport`` with all that was read while it lasted."""
        WARNING_CHANGED = "warning-changed"
        """``warnings``, ``previous``: ``Warnings``."""
        TELEMETRY = "telemetry"
        """``telemetry``: a ``Telemetry``."""

    def __init__(self, chiller: Chiller) -> None:
        self.chiller = chiller
        self.watchdog: Watchdog | None = None
        self.warnings = Warnings(0)
        self.report: AlarmReport | None = None
        self.telemetry: Telemetry | None = None
        self._stopped = False

    def check(self) -> None:
        """Ask for the state, and follow what it says: alarms first, then warnings."""
        try:
            status = self.chiller.watchdog()
        except CnxError as error:
            self._tell_status(None, error)
            return
        self._tell_status(status, None)
        if status.alarm or self.report is not None:
            self._follow_alarm(status.alarm, status.state)
        self._follow_warnings(status.warning)

    def measure(self, before_each: Callable[[], object] = bool) -> None:
        """Read all values, calling ``before_each`` before each of them."""
        try:
            self.telemetry = read_telemetry(self.chiller, before_each)
        except CnxError as error:
            log.info("%s: no telemetry: %s", self.chiller.line.name, error)
            return
        self._tell(self.Signals.TELEMETRY, telemetry=self.telemetry)

    def _tell_status(self, status: Watchdog | None, reason: CnxError | None) -> None:
        previous, self.watchdog = self.watchdog, status
        if status != previous:
            self._tell(self.Signals.STATUS_CHANGED, status=status, previous=previous, reason=reason)

    def _follow_alarm(self, lasts: bool, state: ControlState) -> None:
        """Tell an alarm, put the unit in standby, read the details, and tell its end."""
        fresh = self.report is None
        if self.report is None:
            self.report, self._stopped = AlarmReport(), False
            self._tell(self.Signals.ALARM_RAISED)
        if lasts and not (self._stopped and state is ControlState.STANDBY):  # somebody may have started it again
            self._stopped = self._try(self._stop) is not None
        if lasts or not self.report.complete:
            # level 1 is safe to read in standby, or when the front panel had the time of a round to see the alarm
            self._read_details(level_1=self._stopped or not fresh)
        if not lasts:
            self._tell(self.Signals.ALARM_CLEARED, report=self.report)
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
            self._tell(self.Signals.ALARM_DETAILS, report=report)

    def _follow_warnings(self, any_warning: bool) -> None:
        warnings = self._try(self.chiller.warnings) if any_warning else Warnings(0)
        if warnings is not None and warnings != self.warnings:
            previous, self.warnings = self.warnings, warnings
            self._tell(self.Signals.WARNING_CHANGED, warnings=warnings, previous=previous)

    def _stop(self) -> bool:
        self.chiller.stop()
        return True

    def _try(self, ask: Callable[[], Flags]) -> Flags | None:
        """Return what ``ask`` returns, or ``None``, so that the other steps are taken all the same."""
        try:
            return ask()
        except CnxError as error:
            log.warning("%s: a step after an alarm or warning failed: %s", self.chiller.line.name, error)
            return None

    def _tell(self, signal: Signal, **arguments: Any) -> None:
        emit(self, signal, **arguments)


def joined(known: Flags | None, found: Flags | None) -> Flags | None:
    """Return the bits of both; ``None`` stands for what was not read."""
    if known is None or found is None:
        return found if known is None else known
    return type(found)(known | found)
