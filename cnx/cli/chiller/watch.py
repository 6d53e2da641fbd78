"""``cnx chiller watch``: a live table, lines, or JSON, and a recording."""

from __future__ import annotations

import json
import threading
from collections import deque
from typing import Any, TextIO

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cnx.cli.chiller.output import in_words, names_of, plain, row
from cnx.cli.chiller.recording import Recorder
from cnx.cli.console import stamp
from cnx.clients.chiller import ChillerMonitor, Telemetry
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager
from cnx.signals.subscriptions import subscribe
from cnx.threads.condition import Flag

__all__ = ["sparkline", "watch_unit"]

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60
Signals = ChillerMonitor.Signals


def watch_unit(
    monitor: ChillerMonitor, stop: Flag, *, rounds: int | None, record: TextIO | None, as_json: bool
) -> None:
    """Watch until ``stop`` is set or the rounds are over.

    Raises:
        OSError: what is found cannot be printed or recorded: nobody reads, or the disk is full.
    """
    console = Console()
    view = JsonView() if as_json else LiveView(monitor, console) if console.is_terminal else LineView()
    recorder = None if record is None else Recorder(record, monitor)
    done, failures, one_at_a_time = 0, list[OSError](), threading.Lock()

    def tell(signal: Any, **arguments: Any) -> None:
        nonlocal done
        telemetry = arguments.get("telemetry")
        try:
            with one_at_a_time:
                if recorder is not None and signal is not Signals.WARNING_CHANGED:
                    recorder.write(telemetry)
                view.tell(signal, arguments)
        except OSError as error:
            failures.append(error)
        done += telemetry is not None
        if done == rounds or failures:
            stop.set()

    def tell_attempt(old: State, new: State, reason: BaseException | None) -> None:
        if old is State.CONNECTING and new is State.RECOVERING:  # a loss is news of the monitor
            tell(Signals.STATUS_CHANGED, status=None, previous=None, reason=reason)

    manager = ConnectionManager(monitor.chiller.line)
    subscriptions = [subscribe(monitor, signal, tell) for signal in Signals]
    subscriptions.append(subscribe(manager, manager.Signals.STATE_CHANGED, tell_attempt))
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
    """One line for each news."""

    def __enter__(self) -> LineView:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing is left open."""

    def tell(self, signal: Signals, news: dict[str, Any]) -> None:
        """Print it."""
        click.echo(f"{stamp()} {sentence(signal, news)}")


class JsonView(LineView):
    """One JSON object for each news."""

    def tell(self, signal: Signals, news: dict[str, Any]) -> None:
        """Print it."""
        told = {"time": stamp(), "signal": signal.value}
        news = {name: str(value) if isinstance(value, Exception) else plain(value) for name, value in news.items()}
        news.pop("sender", None)
        click.echo(json.dumps(told | news, ensure_ascii=False))


class LiveView(LineView):
    """A table that is drawn anew with every news, a sparkline of the supply temperature, and the last events."""

    def __init__(self, monitor: ChillerMonitor, console: Console) -> None:
        self._monitor = monitor
        self._live = Live(console=console, auto_refresh=False)
        self._supply: deque[float] = deque(maxlen=WIDTH)
        self._events: deque[str] = deque(maxlen=8)

    def __enter__(self) -> LiveView:
        self._live.start()
        self._draw()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def tell(self, signal: Signals, news: dict[str, Any]) -> None:
        """Take it in and draw."""
        telemetry = news.get("telemetry")
        if telemetry is None:
            self._events.append(f"{stamp()} {sentence(signal, news)}")
        elif telemetry.supply_temperature is not None:
            self._supply.append(telemetry.supply_temperature)
        self._draw()

    def _draw(self) -> None:
        line = self._monitor.chiller.line
        table = Table(title=f"chiller {self._monitor.chiller.device_id:02d} at {line.name}", show_header=False)
        status = self._monitor.watchdog
        table.add_row("status", "no answer" if status is None else in_words(plain(status)))
        table.add_row("warnings", in_words(names_of(self._monitor.warnings)))
        report = self._monitor.report
        table.add_row(
            "alarms", Text("none" if report is None else in_words(report.names), style="red" if report else "")
        )
        for name, value in plain(self._monitor.telemetry or {}).items():
            table.add_row(*row(name, value))
        table.add_row("supply", sparkline(self._supply))
        self._live.update(Group(table, Text("\n".join(self._events), style="dim")), refresh=True)


def sentence(signal: Signals, news: dict[str, Any]) -> str:
    """Return news in words."""
    if signal is Signals.TELEMETRY:
        return in_words(plain(short(news["telemetry"])))
    if signal is Signals.STATUS_CHANGED:
        status = news["status"]
        return f"no answer: {news['reason']}" if status is None else in_words(plain(status))
    if signal is Signals.WARNING_CHANGED:
        return f"warnings: {in_words(names_of(news['warnings']))}"
    report = news.get("report")
    return str(signal.value).replace("-", " ") + (f": {in_words(report.names)}" if report else "")


def short(telemetry: Telemetry) -> dict[str, Any]:
    """Return the values that fit a line."""
    return {
        "supply": telemetry.supply_temperature,
        "set point": telemetry.setpoint,
        "ambient": telemetry.ambient_temperature,
        "flow": telemetry.flow,
        "drive": telemetry.drive and telemetry.drive.level,
    }


def sparkline(values: deque[float]) -> str:
    """Return a line of bars between the lowest and the highest of ``values``, and both."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / ((high - low) or 1.0)
    return "".join(BARS[round((value - low) * scale)] for value in values) + f"  {low:g} to {high:g} °C"
