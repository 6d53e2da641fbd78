"""The plain contract: a class that overrides ``try_connect``, ``disconnect`` and ``teardown`` is a whole connection."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

import pytest
from pydispatch import dispatcher

from cnx import (
    Backoff,
    Cancelled,
    CnxError,
    ConnectError,
    Connection,
    ConnectionLost,
    ConnectionManager,
    TornDown,
    subscribe,
)
from cnx.testing import PATIENCE, wait_until
from tests.threads.test_process import in_child

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
    with pytest.warns(ResourceWarning, match="was not torn down"):
        ConnectionManager(broken).connect()
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


# -- attempts and ends of several threads -------------------------------------------------------------------------


def run_aside(action: Callable[[], object]) -> threading.Thread:
    """Run something on another thread, and ignore the errors of a connection."""

    def run() -> None:
        with suppress(CnxError):
            action()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


class Hooked(Lamp):
    """Does what a test wants in the middle of ``try_connect``."""

    hook: Callable[[], object] = staticmethod(lambda: None)

    def try_connect(self) -> bool:
        """Do it, and answer."""
        answer = super().try_connect()
        self.hook()
        return answer


@pytest.mark.parametrize("with_dispatcher", [False, True])
def test_alarm_before_the_attempt_has_succeeded_fails_it(with_dispatcher: bool) -> None:
    """The link is let go of, and the attempt fails with that reason; the next one succeeds."""
    lamp = Hooked([])
    emitted = emitted_by(lamp)
    trouble = ConnectionLost("gone at once")

    def alarm() -> None:
        if with_dispatcher:
            dispatcher.send(signal=Connection.Signals.RAISE_ALARM, sender=lamp, reason=trouble)
        else:
            lamp.raise_alarm(trouble)

    lamp.hook = lambda: run_aside(alarm).join(PATIENCE)
    with pytest.raises(ConnectionLost, match="gone at once") as caught:
        lamp.connect()
    assert caught.value.__cause__ is trouble
    assert not lamp.connected
    assert lamp.calls == ["try_connect", "disconnect"]
    lamp.hook = lambda: None
    lamp.connect()
    assert [each for each in emitted if each != "raise-alarm"] == ["connected"]


END_IT: list[Callable[[Lamp], object]] = [
    lambda lamp: lamp.raise_alarm("no"),
    lambda lamp: lamp.disconnect(),
    lambda lamp: lamp.teardown(),
]


@pytest.mark.parametrize("end", END_IT, ids=["raise_alarm", "disconnect", "teardown"])
@pytest.mark.parametrize("aside", [False, True])
def test_end_while_connected_is_emitted_comes_after_it(end: Callable[[Lamp], object], aside: bool) -> None:
    """Every subscriber gets CONNECTED before the end, whichever thread ends the link."""
    lamp = Lamp([])
    threads: list[threading.Thread] = []

    def on_connected() -> None:
        if aside:
            threads.append(run_aside(lambda: end(lamp)))
            wait_until(lambda: not lamp.connected, "the end")
        else:
            end(lamp)

    subscribe(lamp, Connection.Signals.CONNECTED, on_connected)
    emitted = emitted_by(lamp)  # later subscribers
    with pytest.raises(CnxError):
        lamp.connect()
    for thread in threads:
        thread.join(PATIENCE)
    assert [each for each in emitted if each != "raise-alarm"] == ["connected", "disconnected"]
    assert emitted.index("connected") == 0
    assert not lamp.connected


def test_attempts_take_turns() -> None:
    """Of two threads in ``connect()``, one makes the attempt; the other one waits and finds the link."""
    lamp = Hooked([])
    emitted = emitted_by(lamp)
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    lamp.hook = hold
    first = run_aside(lamp.connect)
    assert inside.wait(PATIENCE)
    second = run_aside(lamp.connect)
    wait_until(lambda: len(lamp._cnx.driver._deadlines) == 2, "the second thread")  # type: ignore[attr-defined]
    go_on.set()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert lamp.connected
    assert lamp.calls == ["try_connect"]
    assert emitted == ["connected"]


def test_attempt_waits_until_the_last_end_was_emitted() -> None:
    """So the signals of two links never mix; a handler of the end itself cannot connect."""
    lamp = Lamp([])
    inside, go_on = threading.Event(), threading.Event()
    refused: list[BaseException] = []

    def on_disconnected() -> None:
        with pytest.raises(ConnectError, match="busy with its last link") as caught:
            lamp.connect()
        refused.append(caught.value)
        inside.set()
        assert go_on.wait(PATIENCE)

    subscription = subscribe(lamp, Connection.Signals.DISCONNECTED, on_disconnected)
    emitted = emitted_by(lamp)
    lamp.connect()
    ending = run_aside(lambda: lamp.raise_alarm("no"))
    assert inside.wait(PATIENCE)
    again = run_aside(lamp.connect)
    wait_until(lambda: lamp._cnx.driver._deadlines, "the second attempt")  # type: ignore[attr-defined]
    assert emitted == ["connected", "raise-alarm"]
    subscription.cancel()
    go_on.set()
    ending.join(PATIENCE)
    again.join(PATIENCE)
    assert emitted == ["connected", "raise-alarm", "disconnected", "connected"]
    assert len(refused) == 1


@pytest.mark.parametrize("stop", END_IT[1:], ids=["disconnect", "teardown"])
def test_stop_of_another_thread_cancels_the_attempt(stop: Callable[[Lamp], object]) -> None:
    """The user's own call does it, as that of a manager does; what the attempt makes is let go of."""
    lamp = Hooked([])
    emitted = emitted_by(lamp)
    inside, go_on = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def hold() -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    def connect() -> None:
        with pytest.raises((Cancelled, TornDown)) as caught:
            lamp.connect()
        failures.append(caught.value)

    lamp.hook = hold
    connecting = threading.Thread(target=connect)
    connecting.start()
    assert inside.wait(PATIENCE)
    stopping = run_aside(lambda: stop(lamp))
    wait_until(lambda: "disconnect" in lamp.calls, "the stop")
    go_on.set()
    connecting.join(PATIENCE)
    stopping.join(PATIENCE)
    assert len(failures) == 1
    assert not lamp.connected
    assert emitted == []
    assert lamp.calls.count("disconnect") == 2  # of the stop, and of the attempt that had succeeded


# -- the user's own calls -----------------------------------------------------------------------------------------


def test_own_call_of_disconnect_and_teardown_does_what_a_manager_does() -> None:
    """The end is emitted, ``connected`` says so, and a connection that was torn down stays so."""
    lamp = Lamp([])
    emitted = emitted_by(lamp)
    lamp.connect()
    lamp.disconnect()
    assert not lamp.connected
    assert emitted == ["connected", "disconnected"]
    lamp.connect()
    lamp.teardown()
    assert emitted == ["connected", "disconnected"] * 2
    assert lamp.calls == ["try_connect", "disconnect", "try_connect", "disconnect", "teardown"]
    with pytest.raises(TornDown):
        lamp.connect()


def test_own_call_raises_what_the_subclass_raises() -> None:
    """The end is emitted all the same, and the result of a call that succeeds is returned."""

    class Answering(Lamp):
        def disconnect(self, how: str = "") -> str:  # type: ignore[override]
            if not how:
                raise ZeroDivisionError("disconnect")
            return how

    lamp = Answering([])
    emitted = emitted_by(lamp)
    lamp.connect()
    with pytest.raises(ZeroDivisionError):
        lamp.disconnect()
    assert emitted == ["connected", "disconnected"]
    lamp.connect()
    assert lamp.disconnect("gently") == "gently"
    assert emitted == ["connected", "disconnected"] * 2
    with suppress(ZeroDivisionError):
        lamp.teardown()


def test_calls_among_the_methods_of_a_subclass_are_no_stops() -> None:
    """``super()``, ``try_connect`` and ``teardown`` may call ``disconnect``; a mixin may define it."""

    class Closing:
        closed = 0

        def disconnect(self) -> None:
            self.closed += 1

    class Mixed(Closing, Connection):
        def try_connect(self) -> bool:
            self.disconnect()
            return True

        def teardown(self) -> None:
            self.disconnect()

    class Derived(Mixed):
        def disconnect(self) -> None:
            super().disconnect()

    for kind in (Mixed, Derived):
        made = kind()
        emitted = emitted_by(made)
        made.connect()
        assert made.connected
        made.disconnect()
        assert emitted == ["connected", "disconnected"]
        made.connect()
        made.teardown()
        assert emitted == ["connected", "disconnected"] * 2
        assert made.closed == 5


def test_interrupted_announcement_ends_the_link() -> None:
    """``sys.exit()`` in a handler of CONNECTED reaches the caller of ``connect()``, and the others get both signals."""
    lamp = Lamp([])
    subscribe(lamp, Connection.Signals.CONNECTED, sys.exit)
    emitted = emitted_by(lamp)
    with pytest.raises(SystemExit):
        lamp.connect()
    assert emitted == ["connected", "raise-alarm", "disconnected"]
    assert not lamp.connected
    assert lamp.calls == ["try_connect", "disconnect"]


def test_error_of_the_system_becomes_a_connect_error() -> None:
    """With that as its cause."""

    class Absent(Lamp):
        def try_connect(self) -> bool:
            raise FileNotFoundError(2, "No such file", "/dev/lamp")

    absent = Absent([])
    with pytest.raises(ConnectError, match="cannot connect to Absent: No such file") as caught:
        absent.connect()
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert absent.last_error is caught.value


def test_child_process_begins_anew() -> None:
    """An attempt of the parent does not hold up the child, which has no link."""
    lamp = Hooked([])
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    lamp.hook = hold
    connecting = run_aside(lamp.connect)
    assert inside.wait(PATIENCE)

    def use() -> None:
        lamp.hook = lambda: None
        assert not lamp.connected
        assert lamp.connect().connected

    assert in_child(use) == 0
    go_on.set()
    connecting.join(PATIENCE)
    assert lamp.connected
