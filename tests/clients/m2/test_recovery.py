"""Both ports as one connection: losing it, getting it back, stopping it; and a lot of telemetry."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cnx import Backoff, Cancelled, ConnectError, Connection, ConnectionManager, State, subscribe
from cnx.clients.m2 import CommandLost, CommandStatus, M2Controller, M2Signals, MessageNotSent
from cnx.clients.m2.simulator import M2Simulator
from cnx.deadline import Deadline
from cnx.transports.transport import Transport
from tests.helpers.m2_scripted import DEADLINE, ScriptedController, stay_silent, succeed

QUICK = Backoff(first=0.01, cap=0.05)


@pytest.fixture
def simulator() -> Iterator[M2Simulator]:
    """Return a simulator that runs."""
    simulator = M2Simulator(telemetry_period=0.01)
    simulator.listen_ports(command_port=0, telemetry_port=0)
    with simulator:
        yield simulator


def controller_of(simulator: M2Simulator, **options: Any) -> M2Controller:
    """Return a client for a simulator."""
    ports = [int(url.rpartition(":")[2]) for url in simulator.urls]
    return M2Controller("127.0.0.1", *ports, **options)


def test_a_day_with_the_mirror(simulator: M2Simulator) -> None:
    """Power on, close the loop, move, and see the position come."""
    client = controller_of(simulator)
    with ConnectionManager(client, backoff=QUICK):
        with client.expect_event("summaryFaultsStatus", lambda event: event["status"] == 0) as cleared:
            client.command("clearErrors")
            cleared.wait(DEADLINE)
        for power in (2, 1):
            with client.expect_event("powerSystemState", lambda event: event["state"] == 5) as on:
                client.command("power", powerType=power, status=True)
                on.wait(DEADLINE)
        client.command("switchForceBalanceSystem", status=True)
        with client.expect_event("m2AssemblyInPosition", lambda event: event["inPosition"]):
            client.command("positionMirror", x=1, y=0, z=0, xRot=0, yRot=0, zRot=0)
        client.wait_for_telemetry("position", lambda position: position["x"] == 1, timeout=DEADLINE)
        mode = client.event("closedLoopControlMode")
        assert mode is not None
        assert mode.message["mode"] == 4


def test_both_come_back_as_one(simulator: M2Simulator) -> None:
    """Whichever port is dropped, both are up again, and the numbers of commands go on."""
    client = controller_of(simulator)
    with ConnectionManager(client, backoff=QUICK) as manager:
        for number in range(1, 21):
            manager.wait_until(State.CONNECTED, DEADLINE)
            assert client.command("setMirrorHome", timeout=DEADLINE).sequence_id == number
            with client.expect_telemetry("powerStatus") as flowing:
                flowing.wait(DEADLINE)
            lost = threading.Event()
            with subscribe(client, Connection.Signals.DISCONNECTED, lambda event=lost, **_: event.set()):
                url = simulator.urls[number % 2]
                next(session for session in simulator.sessions if session.url == url).close()
                assert lost.wait(DEADLINE)
        assert manager.counters.losses == 20


def test_signals_of_each_link_in_order(simulator: M2Simulator) -> None:
    """Each link emits CONNECTED, then messages, then the alarm and one end, and nothing after that."""
    client = controller_of(simulator)
    emitted: list[str] = []
    signals = Connection.Signals
    for signal in (signals.CONNECTED, signals.RAISE_ALARM, signals.DISCONNECTED, M2Signals.EVENT, M2Signals.TELEMETRY):
        subscribe(client, signal, lambda name=signal.name, **_: emitted.append(name))
    with ConnectionManager(client, backoff=QUICK) as manager:
        for number in range(1, 6):
            manager.wait_until(State.CONNECTED, DEADLINE)
            client.wait_for_telemetry("powerStatus", timeout=DEADLINE)
            simulator.drop_sessions()
            wait_for_losses(manager, number)
        manager.wait_until(State.CONNECTED, DEADLINE)
    links = " ".join(emitted).split("CONNECTED ")
    ends = [name for name in emitted if name not in ("EVENT", "TELEMETRY")]
    assert ends == ["CONNECTED", "RAISE_ALARM", "DISCONNECTED"] * 5 + ["CONNECTED", "DISCONNECTED"]
    assert len(links) > 5


def test_alarm_in_the_middle_of_an_attempt(simulator: M2Simulator) -> None:
    """An alarm before the ports are open fails the attempt with that reason, and leaves no link behind."""
    client = controller_of(simulator)
    open_port = client.commands.open_transport

    def open_late(deadline: Deadline) -> Transport:
        client.raise_alarm("of an older link")
        return open_port(deadline)

    client.commands.open_transport = open_late  # type: ignore[method-assign]  # for this test only
    assert not client.try_connect()
    assert str(client.last_error) == "of an older link"
    client.commands.open_transport = open_port  # type: ignore[method-assign]
    assert client.try_connect()
    client.teardown()


def wait_for_losses(manager: ConnectionManager, count: int) -> None:
    """Wait until a manager has seen that many losses."""
    changed = threading.Event()
    with subscribe(manager, ConnectionManager.Signals.STATE_CHANGED, lambda: changed.set()):
        while manager.counters.losses < count:
            assert changed.wait(DEADLINE)
            changed.clear()


def test_reconnecting_in_the_middle_of_commands() -> None:
    """Commands of eight threads while the link is cut again and again: each ends with a result or the reason."""
    with ScriptedController(succeed) as scripted:
        client = M2Controller("127.0.0.1", *scripted.ports)
        outcomes: list[str] = []
        enough = threading.Event()

        def command() -> None:
            while not enough.is_set():
                try:
                    client.command("setMirrorHome", timeout=DEADLINE)
                    outcomes.append("success")
                except (CommandLost, MessageNotSent) as error:
                    outcomes.append(type(error).__name__)
                    manager.wait_until(State.CONNECTED, DEADLINE)

        with ConnectionManager(client, backoff=QUICK) as manager:
            threads = [threading.Thread(target=command) for _ in range(8)]
            for thread in threads:
                thread.start()
            for count in range(1, 11):
                manager.wait_until(State.CONNECTED, DEADLINE)
                scripted.link(count % 2).reset()
                wait_for_losses(manager, count)
            manager.wait_until(State.CONNECTED, DEADLINE)
            enough.set()
            for thread in threads:
                thread.join(DEADLINE)
            assert not any(thread.is_alive() for thread in threads)
        assert set(outcomes) <= {"success", "CommandLost", "MessageNotSent"}
        assert "success" in outcomes


def test_one_port_refused() -> None:
    """When one port refuses, the attempt failed with that reason, and the other one is not left open."""
    with ScriptedController(succeed) as scripted:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        for ports in ((scripted.ports[0], port), (port, scripted.ports[1])):
            client = M2Controller("127.0.0.1", *ports)
            with pytest.raises(ConnectError, match=str(port)):
                client.connect(timeout=DEADLINE)
            assert not client.connected


def test_stopping_from_a_handler(simulator: M2Simulator) -> None:
    """A handler on the thread of either port may disconnect; the end is emitted once, and nothing after it."""
    for signal in (Connection.Signals.CONNECTED, M2Signals.EVENT, M2Signals.TELEMETRY):
        client = controller_of(simulator)
        reasons: list[BaseException] = []
        ended = threading.Event()

        def note(reason: BaseException, to: list[BaseException] = reasons, event: threading.Event = ended) -> None:
            to.append(reason)
            event.set()

        subscribe(client, signal, lambda client=client, **_: client.teardown())
        subscribe(client, Connection.Signals.DISCONNECTED, note)
        client.try_connect()
        assert ended.wait(DEADLINE), signal
        client.teardown()
        assert len(reasons) == 1
        assert isinstance(reasons[0], Cancelled)


def test_stopping_while_a_command_waits_and_the_peer_is_silent() -> None:
    """Teardown returns at once although the controller neither answers nor reads."""
    with ScriptedController(stay_silent) as scripted:
        client = M2Controller("127.0.0.1", *scripted.ports)
        client.connect()
        pending = client.start_command("clearErrors")
        scripted.link(1)
        client.teardown()
        with pytest.raises(CommandLost, match="teardown"):
            pending.wait(DEADLINE)


def test_connecting_in_vain_can_be_stopped() -> None:
    """While the manager tries to reach a port that refuses, it stops at once, and gives the reason."""
    client = M2Controller("127.0.0.1", 1, 2)
    with (
        pytest.raises(ConnectError, match=r"127\.0\.0\.1:1"),
        ConnectionManager(client, backoff=Backoff(attempts=2, first=0.01)),
    ):
        pass


COUNT = 100_000


def test_a_lot_of_telemetry_with_commands_from_eight_threads() -> None:
    """100,000 telemetry messages arrive in order and none is lost, while eight threads get their results."""
    batches = [
        b"".join(b'{"id": "position", "x": %d, "y": 0.25}\r\n' % number for number in range(start, start + 1000))
        for start in range(0, COUNT, 1000)
    ]
    with ScriptedController(succeed) as scripted:
        client = M2Controller("127.0.0.1", *scripted.ports)
        seen: list[int] = []
        results: list[CommandStatus | None] = []
        subscribe(client, M2Signals.TELEMETRY, lambda message: seen.append(message["x"]))
        client.connect()

        def send() -> None:
            for batch in batches:
                scripted.link(1).write(batch)

        def command() -> None:
            for _ in range(50):
                results.append(client.command("setMirrorHome", timeout=DEADLINE).status)

        last = client.expect_telemetry("position", lambda position: position["x"] == COUNT - 1)
        threads = [threading.Thread(target=send), *(threading.Thread(target=command) for _ in range(8))]
        for thread in threads:
            thread.start()
        last.wait(60.0)
        for thread in threads:
            thread.join()
        client.teardown()
    assert seen == list(range(COUNT))
    assert results == [CommandStatus.SUCCESS] * 400


def test_a_client_that_is_behind_holds_the_controller_back() -> None:
    """A slow handler loses nothing: the peer waits."""
    with ScriptedController(succeed) as scripted:
        client = M2Controller("127.0.0.1", *scripted.ports)
        seen: list[int] = []
        go = threading.Event()

        def on_telemetry(message: dict[str, Any]) -> None:
            assert go.wait(DEADLINE)
            seen.append(message["n"])

        subscribe(client, M2Signals.TELEMETRY, on_telemetry)
        client.connect()
        line = '{{"id": "big", "n": {}, "p": "' + "x" * 1000 + '"}}\r\n'

        def send() -> None:
            for number in range(20_000):
                scripted.link(1).write(line.format(number).encode(), DEADLINE)

        sending = threading.Thread(target=send)
        with client.expect_telemetry("position") as last:
            sending.start()
            client.command("setMirrorHome", timeout=DEADLINE)
            go.set()
            sending.join()
            scripted.send_telemetry({"id": "position", "n": -1})
            last.wait(DEADLINE)
        client.teardown()
    assert seen[:20_000] == list(range(20_000))
