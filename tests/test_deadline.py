"""Deadlines: the end of a call, which other threads and signal handlers can bring about."""

from __future__ import annotations

import math
import threading
from time import monotonic

import pytest

from cnx import Cancelled, Deadline, SocketConnection, TimedOut
from cnx.deadline import LONGEST, checked_timeout, left_of
from cnx.testing import PATIENCE, serial_pair
from tests.helpers.dead_ports import full_backlog
from tests.helpers.interrupts import strike


class Refused(Cancelled):
    """A reason of a kind of its own."""


@pytest.mark.parametrize("wrong", [-1, -0.001, float("nan")])
def test_impossible_times_are_refused(wrong: float) -> None:
    """The error names the argument."""
    with pytest.raises(ValueError, match="patience must be at least 0"):
        checked_timeout(wrong, "patience")


@pytest.mark.parametrize("wrong", ["1", True, b"1", [1]])
def test_what_is_no_number_is_refused(wrong: object) -> None:
    """Text and truth values are no seconds."""
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None"):
        checked_timeout(wrong)  # type: ignore[arg-type]


def test_what_is_left_of_a_timeout() -> None:
    """It is the very same number in the beginning, then less and less, and never below zero; for ever stays so."""
    assert left_of(None, monotonic() - 100) is None
    assert left_of(1000.0, monotonic()) == 1000.0
    assert left_of(0.0, monotonic()) == 0.0
    assert 489 < (left_of(1000.0, monotonic() - 510) or 0) <= 490
    assert left_of(1.0, monotonic() - 5) == 0.0


def test_for_ever_can_be_said_in_two_ways() -> None:
    """Infinity is ``None``; what the system cannot wait for counts as for ever."""
    assert checked_timeout(math.inf) is None
    assert checked_timeout(1e30) is None
    assert checked_timeout(LONGEST) == LONGEST
    assert checked_timeout(LONGEST + 1) is None
    assert checked_timeout(0) == 0


@pytest.mark.parametrize("seconds", [LONGEST, 2.2e6, 1e9, 9.3e9], ids=str)
def test_very_long_times_can_be_waited_for(seconds: float) -> None:
    """Where the system cannot wait for so many milliseconds, it waits for ever; nothing breaks."""
    deadline = Deadline(seconds)
    timer = threading.Timer(0.05, deadline.cancel)
    timer.start()
    assert not deadline.pause(seconds)
    timer.join()
    with serial_pair() as (port, device), full_backlog() as busy:
        timer = threading.Timer(0.05, device.sendall, [b"late"])
        timer.start()
        assert port.readexactly(4, timeout=seconds) == b"late"
        timer.join()
        connection = SocketConnection("127.0.0.1", busy, connect_timeout=seconds)
        timer = threading.Timer(0.05, connection.disconnect)
        timer.start()
        assert not connection.try_connect()
        timer.join()
        assert isinstance(connection.last_error, Cancelled)


def test_without_limit_it_never_expires() -> None:
    """Nothing remains to be measured."""
    deadline = Deadline(None)
    assert deadline.remaining() is None
    assert not deadline.expired
    deadline.check("waiting")


def test_past_its_end_it_says_what_took_so_long() -> None:
    """Nothing remains, and ``check`` names the call."""
    deadline = Deadline(0.0)
    assert deadline.remaining() == 0.0
    assert deadline.expired
    assert not deadline.cancelled
    with pytest.raises(TimedOut, match=r"connecting to nowhere took longer than 0 s"):
        deadline.check("connecting to nowhere")


def test_cancelled_it_gives_the_first_reason() -> None:
    """``check`` raises that kind of error; later reasons do not count."""
    deadline = Deadline(60)
    deadline.cancel(Refused("by the user"))
    deadline.cancel(Cancelled("by somebody else"))
    assert deadline.expired
    assert "cancelled" in repr(deadline)
    with pytest.raises(Refused, match="connecting: by the user"):
        deadline.check("connecting")


def test_wakers_are_called_while_their_block_runs() -> None:
    """Each is called when it comes to a cancel, also if that was before; not after its block."""
    called: list[str] = []
    deadline = Deadline()
    with deadline.waking(lambda: called.append("past")):
        pass
    with deadline.waking(lambda: called.append("outer")), deadline.waking(lambda: called.append("inner")):
        deadline.cancel()
        assert called == ["outer", "inner"]
    with deadline.waking(lambda: called.append("late")):
        assert called == ["outer", "inner", "late"]


def test_pause_is_ended_by_another_thread() -> None:
    """It tells whether the deadline still stands."""
    deadline = Deadline()
    threading.Timer(0.0, deadline.cancel).start()
    assert not deadline.pause(PATIENCE)


def test_pause_ends_with_the_deadline() -> None:
    """It takes no longer than what remains; in time, the deadline stands."""
    assert Deadline(PATIENCE).pause(0.0)
    assert not Deadline(0.01).pause(PATIENCE)


def test_pause_survives_a_handler_on_its_own_thread() -> None:
    """A signal handler that cancels may strike anywhere in a pause; from then on the deadline has ended."""
    at, struck = 0, True
    while struck:
        deadline = Deadline(PATIENCE)
        struck, raised = strike(lambda d=deadline: d.pause(0.01), deadline.cancel, at)  # type: ignore[misc]
        assert raised is None
        assert deadline.pause(0.0) != struck
        at += 1
    assert at > 10
