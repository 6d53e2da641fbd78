"""The plain contract: a class that overrides ``try_connect``, ``disconnect`` and ``teardown`` is a whole connection."""

from __future__ import annotations

import subprocess
import sys
import threading
from enum import Enum

import pytest
from pydispatch import dispatcher

from cnx import (
    Backoff,
    Cancelled,
    ConnectError,
    Connection,
    ConnectionLost,
    ConnectionManager,
    TornDown,
    subscribe,
)
from cnx.testing import PATIENCE, wait_until

QUICK = Backoff(first=0.001, cap=0.01)
SIGNALS = (Connection.Signals.CONNECTED, Connection.Signals.RAISE_ALARM, Connection.Signals.DISCONNECTED)


def emitted_by(connection: Connection) -> list[str]:
    """Return a list of the names of the signals that a connection emits."""
    emitted: list[str] = []
    for signal in SIGNALS:
        subscribe(connection, signal, lambda signal=signal, **_: emitted.append(signal.value))
    return emitted


class Lamp(Connection):
    """A connection in the words of the original library: its own ``__init__`` calls nobody else's."""

    def __init__(self, answers: list[bool]) -> None:
        self.answers = answers
        self.calls: list[str] = []

    def try_connect(self) -> bool:
        """Answer what the test wants."""
        self.calls.append("try_connect")
        return self.answers.pop(0) if self.answers else True

    def disconnect(self) -> None:
        """Note it."""
        self.calls.append("disconnect")

    def teardown(self) -> None:
        """Note it."""
        self.calls.append("teardown")


class Program(Connection):
    """A program that runs while it is connected."""

    process: subprocess.Popen[bytes] | None = None

    def try_connect(self) -> bool:
        """Start it."""
        self.disconnect()
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        return True

    def disconnect(self) -> None:
        """End it."""
        process, self.process = self.process, None
        if process is not None:
            process.communicate(timeout=PATIENCE)

    def teardown(self) -> None:
        """Nothing is left."""


def test_connects_and_disconnects() -> None:
    """``connect()`` and a block call the three methods, keep ``connected``, and emit the signals."""
    lamp = Lamp([])
    emitted = emitted_by(lamp)
    assert not lamp.connected
    assert lamp.connect() is lamp
    assert lamp.connected
    assert repr(lamp) == "<Lamp Lamp connected>"
    with lamp:
        assert emitted == ["connected"]
    assert not lamp.connected
    assert emitted == ["connected", "disconnected"]
    assert lamp.calls == ["try_connect", "disconnect"]


def test_failure_has_a_reason() -> None:
    """``False`` and exceptions are failures; nothing is emitted."""
    lamp = Lamp([False])
    emitted = emitted_by(lamp)
    with pytest.raises(ConnectError, match=r"Lamp: try_connect\(\) returned False"):
        lamp.connect()
    assert isinstance(lamp.last_error, ConnectError)
    assert lamp.connect().last_error is None
    assert emitted == ["connected"]


def test_takes_no_timeout() -> None:
    """An attempt that has no deadline cannot be bounded by one; it says so."""
    with pytest.raises(TypeError, match=r"Lamp.connect\(\) takes no timeout"):
        Lamp([]).connect(timeout=1.0)


def test_manager_keeps_it_up() -> None:
    """A manager retries until it is connected, recovers it after an alarm, disconnects, and tears it down."""
    lamp = Lamp([False, False, True, False, True])
    emitted = emitted_by(lamp)
    with ConnectionManager(lamp, backoff=QUICK) as manager:
        assert manager.counters.attempts == 3
        lamp.raise_alarm("it flickers")
        wait_until(lambda: manager.counters.connects == 2, "the recovery")
        manager.wait_until("connected", PATIENCE)
        assert manager.counters.losses == 1
    assert lamp.calls == ["try_connect"] * 5 + ["disconnect", "teardown"]
    assert emitted == ["connected", "raise-alarm", "disconnected", "connected", "disconnected"]
    with pytest.raises(TornDown):
        lamp.connect()


@pytest.mark.parametrize("reason", [None, "it flickers", OSError("it flickers")])
def test_alarm_with_and_without_a_reason(reason: str | OSError | None) -> None:
    """The reason reaches the handlers and ``last_error``; without one, there is a sentence that says so."""
    lamp = Lamp([])
    reasons: list[BaseException] = []
    subscribe(lamp, Connection.Signals.DISCONNECTED, lambda reason: reasons.append(reason))
    lamp.raise_alarm(reason)  # nothing is there yet
    lamp.connect()
    lamp.raise_alarm(reason)
    lamp.raise_alarm(reason)
    assert len(reasons) == 1
    assert lamp.last_error is reasons[0]
    assert ("flickers" if reason else "without a reason") in str(reasons[0])


def test_alarm_sent_with_the_dispatcher() -> None:
    """PyDispatcher's own ``send`` raises the alarm, too, as the original does it."""
    lamp = Lamp([])
    emitted = emitted_by(lamp)
    with ConnectionManager(lamp, backoff=QUICK) as manager:
        dispatcher.send(signal=Connection.Signals.RAISE_ALARM, sender=lamp)
        wait_until(lambda: manager.counters.connects == 2, "the recovery")
        manager.wait_until("connected", PATIENCE)
    assert emitted[:2] == ["connected", "disconnected"]
    assert sorted(emitted[2:-1]) == ["connected", "raise-alarm"]  # the manager does not wait for other handlers
    assert emitted[-1] == "disconnected"


def test_program() -> None:
    """A program is started again when somebody notices that it has ended."""
    program = Program()
    with ConnectionManager(program, backoff=QUICK) as manager:
        first = program.process
        assert first is not None
        assert first.stdin is not None
        first.stdin.close()
        first.wait(PATIENCE)
        program.raise_alarm(f"it ended with {first.returncode}")
        wait_until(lambda: manager.counters.connects == 2, "the second program")
        assert program.process is not first
    assert program.process is None


def test_exceptions_of_the_subclass_leave_a_manager_in_charge(caplog: pytest.LogCaptureFixture) -> None:
    """What ``disconnect`` and ``teardown`` raise is logged, and the connection counts as closed."""

    class Broken(Lamp):
        def disconnect(self) -> None:
            raise ZeroDivisionError("disconnect")

        def teardown(self) -> None:
            raise ZeroDivisionError("teardown")

    broken = Broken([])
    emitted = emitted_by(broken)
    ConnectionManager(broken).connect()
    manager = ConnectionManager(Lamp([]))
    manager.connect()
    manager.teardown()
    with ConnectionManager(Broken([])):
        pass
    assert "disconnect() failed" in caplog.text
    assert "teardown() failed" in caplog.text
    assert emitted == ["connected"]


def test_error_of_programming_is_raised() -> None:
    """It is neither hidden nor taken for a device that is away."""

    class Wrong(Lamp):
        def try_connect(self) -> bool:
            raise AttributeError("typo")

    with pytest.raises(AttributeError, match="typo"):
        Wrong([]).connect()


def test_disconnect_in_a_handler_of_connected() -> None:
    """A handler may end the link at once; ``connect()`` says that it is not connected."""
    lamp = Lamp([])
    subscribe(lamp, Connection.Signals.CONNECTED, lambda: lamp.raise_alarm("no"))
    with pytest.raises(ConnectionLost, match="no"):
        lamp.connect()


def test_stop_during_an_attempt() -> None:
    """An attempt that succeeds after it was cancelled is undone."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Lamp):
        def try_connect(self) -> bool:
            begun.set()
            assert go_on.wait(PATIENCE)
            return super().try_connect()

    slow = Slow([])
    emitted = emitted_by(slow)
    manager = ConnectionManager(slow)
    manager.connect(wait=False)
    assert begun.wait(PATIENCE)
    stop = threading.Thread(target=manager.disconnect)
    stop.start()
    wait_until(lambda: "disconnect" in slow.calls, "the stop")
    go_on.set()
    stop.join(PATIENCE)
    wait_until(lambda: slow.calls == ["disconnect", "try_connect", "disconnect"], "the end of the attempt")
    assert emitted == []
    assert not slow.connected
    assert isinstance(slow.last_error, Cancelled)
    manager.teardown()


def test_original_signals_may_be_hidden_with_a_warning() -> None:
    """A nested class ``Signals`` hides that of the base, which is rarely what is meant."""
    with pytest.warns(UserWarning, match=r"Hidden.Signals hides Connection.Signals"):

        class Hidden(Lamp):
            class Signals(Enum):
                MINE = "mine"

    assert Hidden([]).connect().connected
