"""``cnx chiller watch``: shows what a monitor reports as a live table, lines or JSON, and records it."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cnx.cli.chiller.output import as_text, flag_names, json_value, table_row
from cnx.cli.chiller.recording import RecordingWriter
from cnx.cli.console import echo, echo_json, stamp
from cnx.clients.chiller import ChillerMonitor, Telemetry
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.printable import printable
from cnx.signals.subscriptions import subscribe
from cnx.threads.condition import Flag

__all__ = ["sparkline", "watch_unit"]

BARS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 60
Signals = ChillerMonitor.Signals


def watch_unit(
    monitor: ChillerMonitor, stop: Flag, *, rounds: int | None, record: TextIO | None, as_json: bool
) -> None:
    """Show and record what the monitor reports until ``stop`` is set, or for a number of rounds.

    Raises:
        OSError: the output cannot be written, for instance because the pipe is closed or the disk is full.
    """
    console = Console()
    view = JsonView() if as_json else LiveView(monitor, console) if console.is_terminal else LineView()
    recording = None if record is None else RecordingWriter(record, monitor)
    done, failures, one_at_a_time = 0, list[OSError](), threading.Lock()

    def on_signal(signal: Any, **arguments: Any) -> None:
        nonlocal done
        telemetry = arguments.get("telemetry")
        try:
            with one_at_a_time:
                if recording is not None and signal is not Signals.WARNING_CHANGED:
                    recording.write(telemetry)
                view.show(signal, arguments)
        except OSError as error:
            failures.append(error)
        done += telemetry is not None
        if done == rounds or failures:
            stop.set()

    def on_state_changed(old: State, new: State, reason: BaseException | None) -> None:
        if old is State.CONNECTING and new is State.RECOVERING:  # a loss is reported by the monitor
            on_signal(Signals.STATUS_CHANGED, status=None, previous=None, reason=reason)

    manager = ConnectionManager(monitor.chiller.line)
    subscriptions = [subscribe(monitor, signal, on_signal) for signal in Signals]
    subscriptions.append(subscribe(manager, manager.Signals.STATE_CHANGED, on_state_changed))
    try:
        manager.connect(wait=False)
        with view, monitor:
            stop.wait()
    finally:
        manager.teardown()
        for subscription in subscriptions:
            subscription.cancel()
    if failures:
        raise failures[0]


class LineView:
    """One line for each signal."""

    def __enter__(self) -> LineView:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Do nothing: lines need no end."""

    def show(self, signal: Signals, arguments: dict[str, Any]) -> None:
        """Print a signal."""
        echo(f"{stamp()} {sentence(signal, arguments)}")


class JsonView(LineView):
    """One JSON object for each signal."""

    def show(self, signal: Signals, arguments: dict[str, Any]) -> None:
        """Print a signal."""
        shown = {"time": stamp(), "signal": signal.value}
        for name, value in arguments.items():
            if name != "sender":
                shown[name] = str(value) if isinstance(value, Exception) else json_value(value)
        echo_json(shown)


class LiveView(LineView):
    """A table of the present values, a sparkline of the supply temperature, and the last events."""

    def __init__(self, monitor: ChillerMonitor, console: Console) -> None:
        self._monitor = monitor
        self._live = Live(console=console, auto_refresh=False)
        self._supply: deque[float] = deque(maxlen=SPARKLINE_WIDTH)
        self._events: deque[str] = deque(maxlen=8)

    def __enter__(self) -> LiveView:
        self._live.start()
        self._draw()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def show(self, signal: Signals, arguments: dict[str, Any]) -> None:
        """Add a signal to the values or the events, and draw everything again."""
        telemetry = arguments.get("telemetry")
        if telemetry is None:
            self._events.append(printable(f"{stamp()} {sentence(signal, arguments)}"))
        elif telemetry.supply_temperature is not None:
            self._supply.append(telemetry.supply_temperature)
        self._draw()

    def _draw(self) -> None:
        line = self._monitor.chiller.line
        table = Table(title=f"chiller {self._monitor.chiller.device_id:02d} at {line.name}", show_header=False)
        status = self._monitor.watchdog
        table.add_row("status", "no answer" if status is None else as_text(json_value(status)))
        table.add_row("warnings", as_text(flag_names(self._monitor.warnings)))
        report = self._monitor.report
        table.add_row(
            "alarms", Text("none" if report is None else as_text(report.names), style="red" if report else "")
        )
        for name, value in json_value(self._monitor.telemetry or {}).items():
            table.add_row(*table_row(name, value))
        table.add_row("supply", sparkline(self._supply))
        self._live.update(Group(table, Text("\n".join(self._events), style="dim")), refresh=True)


def sentence(signal: Signals, arguments: dict[str, Any]) -> str:
    """Return a signal and its arguments as text."""
    if signal is Signals.TELEMETRY:
        return as_text(json_value(main_values(arguments["telemetry"])))
    if signal is Signals.STATUS_CHANGED:
        status = arguments["status"]
        return f"no answer: {arguments['reason']}" if status is None else as_text(json_value(status))
    if signal is Signals.WARNING_CHANGED:
        return f"warnings: {as_text(flag_names(arguments['warnings']))}"
    report = arguments.get("report")
    return str(signal.value).replace("-", " ") + (f": {as_text(report.names)}" if report else "")


def main_values(telemetry: Telemetry) -> dict[str, Any]:
    """Return the values that are printed in a line."""
    return {
        "supply": telemetry.supply_temperature,
        "set point": telemetry.setpoint,
        "ambient": telemetry.ambient_temperature,
        "flow": telemetry.flow,
        "drive": telemetry.drive and telemetry.drive.level,
    }


def sparkline(values: deque[float]) -> str:
    """Return one bar for each value, scaled from the lowest to the highest value, and these two."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / ((high - low) or 1.0)
    return "".join(BARS[round((value - low) * scale)] for value in values) + f"  {low:g} to {high:g} °C"
