"""The controller's client on a bad line, and before a controller that misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cnx import Backoff, Connection, ConnectionManager, LimitExceeded, State, subscribe
from cnx.clients.m2 import CommandLost, CommandResult, CommandStatus, CommandTimedOut, M2Controller, MessageNotSent
from cnx.clients.m2.simulator import M2Simulator
from cnx.faults import (
    Fault,
    accept_close,
    corrupt,
    delay,
    drop,
    duplicate,
    faults,
    garbage,
    half_open,
    huge_frame,
    merge,
    refuse,
    split,
    truncate,
    unplug,
)
from tests.helpers.m2_scripted import DEADLINE

QUICK = Backoff(first=0.01, cap=0.05)


@pytest.fixture
def simulator() -> Iterator[M2Simulator]:
    """Return a simulator that runs."""
    simulator = M2Simulator(telemetry_period=0.01, greets_all=True)
    simulator.listen_ports(command_port=0, telemetry_port=0)
    with simulator:
        yield simulator


@pytest.fixture
def client(simulator: M2Simulator) -> Iterator[M2Controller]:
    """Return a client for it, which is not connected yet."""
    ports = [int(url.rpartition(":")[2]) for url in simulator.urls]
    client = M2Controller("127.0.0.1", *ports)
    yield client
    client.teardown()


@pytest.mark.parametrize("fault", [delay(0.002, jitter=0.002), split(1), split(7), merge(3, within=0.01)])
def test_a_line_that_only_cuts_and_waits(simulator: M2Simulator, client: M2Controller, fault: Fault) -> None:
    """However the stream is cut and held up, every command gets its result and telemetry flows."""
    with faults(simulator, fault):
        client.connect(timeout=DEADLINE)
        for number in range(1, 6):
            assert client.command("clearErrors", timeout=DEADLINE).sequence_id == number
        client.wait_for_telemetry("displacementSensors", timeout=DEADLINE)
        assert client.connected


@pytest.mark.parametrize("fault", [corrupt(0.001), drop(0.05), duplicate(0.2), garbage(16, probability=0.05)])
def test_a_line_that_spoils(simulator: M2Simulator, client: M2Controller, fault: Fault) -> None:
    """What is spoiled is skipped or lost, and the connection goes on: each command gets a result or a typed error."""
    outcomes = []
    with faults(simulator, fault, seed=5):
        client.connect(timeout=DEADLINE)
        for _ in range(20):
            with suppress(CommandTimedOut):
                outcomes.append(client.command("setMirrorHome", timeout=0.1).status)
        assert client.connected
    assert CommandStatus.SUCCESS in outcomes


@pytest.mark.parametrize("fault", [refuse(2), accept_close(2), truncate(20_000), unplug(0.05, seconds=0.1)])
def test_a_link_that_ends(simulator: M2Simulator, client: M2Controller, fault: Fault) -> None:
    """The manager brings both ports up again, and commands work again."""
    losses = threading.Semaphore(0)
    subscribe(client, Connection.Signals.DISCONNECTED, lambda: losses.release())
    manager = ConnectionManager(client, backoff=QUICK)
    with faults(simulator, fault):
        manager.connect(wait=False)
        assert isinstance(fault, refuse) or losses.acquire(timeout=DEADLINE)
    results: list[CommandResult] = []
    while not results:
        manager.wait_until(State.CONNECTED, DEADLINE)
        with suppress(CommandLost, MessageNotSent):
            results.append(client.command("clearErrors", timeout=DEADLINE))
    manager.teardown()
    assert results[0].status is CommandStatus.SUCCESS


def test_a_frame_without_an_end(simulator: M2Simulator, client: M2Controller) -> None:
    """A line over the limit ends the connection with the reason, and nothing more than that is kept."""
    reasons: list[BaseException] = []
    ended = threading.Event()
    subscribe(client, Connection.Signals.RAISE_ALARM, lambda reason: reasons.append(reason))
    subscribe(client, Connection.Signals.DISCONNECTED, lambda: ended.set())
    with faults(simulator, huge_frame(1 << 20)):
        client.try_connect()
        assert ended.wait(DEADLINE)
    assert isinstance(reasons[0], LimitExceeded)


def test_a_controller_that_falls_silent(simulator: M2Simulator, client: M2Controller) -> None:
    """On a link that is half open a command times out, and stopping takes no time."""
    with faults(simulator, half_open()):
        client.connect(timeout=DEADLINE)
        with pytest.raises(CommandTimedOut, match="no ack"):
            client.command("clearErrors", timeout=0.05)
        pending = client.start_command("clearErrors")
        client.teardown()
        with pytest.raises(CommandLost):
            pending.wait(DEADLINE)
