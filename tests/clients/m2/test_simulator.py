"""The simulator as a plain socket sees it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cnx.clients.m2.simulator import M2Simulator
from tests.helpers import m2_wire_examples as wire

DEADLINE = 10.0


class Peer:
    """A plain socket that reads lines."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.lines = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self.socket.sendall(data)

    def message(self) -> dict[str, Any]:
        """Return the next message."""
        line = self.lines.readline()
        assert line.endswith(b"\r\n"), f"the link ended after {line!r}"
        message: dict[str, Any] = json.loads(line)
        return message

    def until(self, topic: str) -> list[dict[str, Any]]:
        """Return the messages up to the next of a topic."""
        messages = [self.message()]
        while messages[-1]["id"] != topic:
            messages.append(self.message())
        return messages

    def at_end(self) -> bool:
        """Whether the simulator closed the link after some more lines."""
        try:
            while self.lines.readline():
                pass
        except ConnectionResetError:
            return True
        return True

    def close(self) -> None:
        """End the link."""
        self.lines.close()
        self.socket.close()


class Bench:
    """A simulator and the peers of a test."""

    def __init__(self, **options: Any) -> None:
        self.simulator = M2Simulator(**options)
        self.ports = self.simulator.listen_ports(command_port=0, telemetry_port=0)
        self.peers: list[Peer] = []

    def commands(self) -> Peer:
        """Connect to the command port."""
        self.peers.append(Peer(self.ports[0]))
        return self.peers[-1]

    def telemetry(self) -> Peer:
        """Connect to the telemetry port."""
        self.peers.append(Peer(self.ports[1]))
        return self.peers[-1]


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Return a simulator that runs, with the options of the test's parameter."""
    bench = Bench(**getattr(request, "param", {}))
    with bench.simulator:
        yield bench
        for peer in bench.peers:
            peer.close()


def test_both_ports(bench: Bench) -> None:
    """Commands are answered on one port while telemetry flows on the other."""
    commands, telemetry = bench.commands(), bench.telemetry()
    assert len(commands.until("summaryFaultsStatus")) >= 99
    commands.send(wire.COMMUNICATION_ON)
    assert commands.until("ack")[-1]["sequence_id"] == 2
    assert commands.until("success")[0]["id"] == "powerSystemState"
    assert [telemetry.message()["id"] for _ in range(4)] == [
        "powerStatusRaw",
        "powerStatus",
        "displacementSensors",
        "powerStatusRaw",
    ]


def test_each_port_works_alone(bench: Bench) -> None:
    """Telemetry flows without a command client, and commands work without telemetry."""
    assert bench.telemetry().message()["id"] == "powerStatusRaw"
    commands = bench.commands()
    commands.send(wire.CLEAR_ERRORS)
    assert commands.until("success")


def test_a_second_client_is_closed_at_once(bench: Bench) -> None:
    """Each port has one client; another one sees the end without data, and the first goes on."""
    first = bench.commands()
    assert bench.commands().lines.read() == b""
    first.send(wire.CLEAR_ERRORS)
    assert first.until("success")
    bench.telemetry().message()
    assert bench.telemetry().lines.read() == b""


def test_the_next_client_gets_no_welcome(bench: Bench) -> None:
    """A client that connects after another one has left is accepted at once, and gets no welcome messages."""
    first = bench.commands()
    first.until("tcpIpConnected")
    first.close()
    second = bench.commands()
    second.send(wire.MOVE)
    assert "tcpIpConnected" not in {message["id"] for message in second.until("noack")}


@pytest.mark.parametrize("bench", [{"greets_all": True}], indirect=True)
def test_every_client_can_get_a_welcome(bench: Bench) -> None:
    """With the option, every client of the command port gets the welcome messages."""
    for _ in range(2):
        peer = bench.commands()
        assert peer.message()["id"] == "tcpIpConnected"
        peer.close()


def test_pieces_and_garbage(bench: Bench) -> None:
    """Lines are answered in order however they arrive, and garbage between them is ignored."""
    peer = bench.commands()
    stream = (
        wire.MOVE + wire.NOT_JSON + wire.EMPTY_LINE + b"\xff\r\n" + wire.HEARTBEAT + wire.MOVE.replace(b": 4", b": 5")
    )
    for start in range(0, len(stream), 7):
        peer.send(stream[start : start + 7])
    assert peer.until("noack")[-1]["sequence_id"] == 4
    assert peer.until("noack")[-1]["sequence_id"] == 5


def test_two_messages_and_a_half(bench: Bench) -> None:
    """What is complete is answered at once, in order; the rest waits for its end."""
    peer = bench.commands()
    third = wire.MOVE.replace(b": 4", b": 6")
    peer.send(wire.MOVE + wire.MOVE.replace(b": 4", b": 5") + third[:20])
    assert peer.until("noack")[-1]["sequence_id"] == 4
    assert peer.until("noack")[-1]["sequence_id"] == 5
    peer.send(third[20:])
    assert peer.until("noack")[-1]["sequence_id"] == 6


@pytest.mark.parametrize("bench", [{"result_delay": 0.05}], indirect=True)
def test_nothing_comes_between_ack_and_result(bench: Bench) -> None:
    """Events that a command did not cause wait until its result was sent."""
    peer = bench.commands()
    peer.until("summaryFaultsStatus")
    for number in range(1, 6):
        peer.send(b'{"id": "cmd_setMirrorHome", "sequence_id": %d}\r\n' % number)
    for number in range(1, 6):
        assert peer.until("ack")[-1]["sequence_id"] == number
        assert peer.message() == {"id": "success", "sequence_id": number}


def test_a_line_over_the_limit_ends_the_link(bench: Bench) -> None:
    """A line without an end is not kept for ever."""
    peer = bench.commands()
    peer.send(b"x" * 70000)
    assert peer.at_end()
    assert bench.commands().lines is not None


def test_elevation_of_the_telescope(bench: Bench) -> None:
    """A value sent to the telemetry port appears in the telemetry."""
    commands, telemetry = bench.commands(), bench.telemetry()
    telemetry.send(wire.ELEVATION)
    commands.send(wire.MOTOR_ON)
    assert commands.until("success")
    while telemetry.until("inclinometerAngleTma")[-1]["inclinometer"] != 45.5:
        pass


def test_faults_on_purpose(bench: Bench) -> None:
    """A fault that is raised by the program is reported."""
    peer = bench.commands()
    peer.until("summaryFaultsStatus")
    bench.simulator.raise_faults(6087)
    assert peer.until("summaryFaultsStatus")[-1]["status"] == 2**63 | 2**57


def test_half_close_is_the_end(bench: Bench) -> None:
    """A client that shuts its writing side down is closed."""
    peer = bench.commands()
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.at_end()


def test_reboot(bench: Bench) -> None:
    """The reboot is answered, then both links end and nobody listens; started again, the cell is as new."""
    commands, telemetry = bench.commands(), bench.telemetry()
    commands.send(wire.MOTOR_ON + wire.REBOOT)
    assert commands.until("success")[-1]["sequence_id"] == 3
    assert commands.until("success")[-1]["sequence_id"] == 9
    assert commands.at_end()
    assert telemetry.at_end()
    bench.simulator.stop()
    with pytest.raises(ConnectionRefusedError):
        bench.commands()
    bench.simulator.start()
    assert bench.commands().message()["id"] == "tcpIpConnected"
    assert bench.telemetry().until("powerStatus")[-1]["motorVoltage"] < 1


@pytest.mark.parametrize("options", [{"telemetry_period": 0}, {"telemetry_period": -1}, {"result_delay": -0.1}])
def test_bad_options(options: dict[str, float]) -> None:
    """Periods and delays that cannot be are refused."""
    with pytest.raises(ValueError, match="seconds"):
        M2Simulator(**options)  # type: ignore[arg-type]


def test_it_listens_once(bench: Bench) -> None:
    """The two ports are one pair."""
    with pytest.raises(ValueError, match="already"):
        bench.simulator.listen_ports()
