"""Turns to open connectors: so many a second, and no waiting beyond a deadline."""

from __future__ import annotations

from time import monotonic

import pytest

import cnx
from cnx.clients.tecoroute import ConnectorConnectionError, Pace, TecorouteSimulator
from tests.helpers.tecoroute_service import Caller, connector_to


def test_turns_are_apart() -> None:
    """The first turn is at once, each further one an interval later."""
    pace, start = Pace(0.05), monotonic()
    for _ in range(4):
        pace.wait(cnx.Deadline(10))
    assert monotonic() - start >= 0.15


def test_no_turn_before_the_deadline() -> None:
    """Who cannot wait for a turn hears when there will be one, and takes none."""
    pace = Pace(60.0)
    pace.wait(cnx.Deadline(0))
    for _ in range(3):
        with pytest.raises(ConnectorConnectionError, match="at most one connector") as caught:
            pace.wait(cnx.Deadline(1))
        assert caught.value.retry_after is not None
        assert 50 < caught.value.retry_after <= 60


def test_waiting_for_a_turn_can_be_cancelled() -> None:
    """A disconnect ends the wait for a turn."""
    pace, deadline = Pace(60.0), cnx.Deadline(None)
    pace.wait(deadline)
    caller = Caller(pace.wait, deadline)
    deadline.cancel()
    with pytest.raises(cnx.Cancelled):
        caller.outcome()


def test_connectors_of_one_pace() -> None:
    """Connectors that share a pace open one after the other; the attempt of one that cannot wait fails."""
    pace = Pace(60.0)
    with TecorouteSimulator() as simulator, connector_to(simulator, pace=pace) as first:
        assert first.connected
        second = connector_to(simulator, pace=pace, connect_timeout=0.5)
        assert not second.try_connect()
        assert isinstance(second.last_error, ConnectorConnectionError)
        assert len(simulator.sessions) == 1


@pytest.mark.parametrize("interval", [-1, float("nan"), "1"])
def test_bad_intervals(interval: float) -> None:
    """An interval is a number of seconds."""
    with pytest.raises((ValueError, TypeError)):
        Pace(interval)
