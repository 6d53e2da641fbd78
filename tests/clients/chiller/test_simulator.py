"""The simulated line: TCP with many clients, a pseudo terminal, several units, and its pace."""

from __future__ import annotations

import os
import socket
import termios
from collections.abc import Iterator

import pytest

from cnx.clients.chiller.simulator import ChillerSimulator

TIMEOUT = 10.0
ASK = b".0104rSupplyT46\r"
ANSWER = b"#01040rSupplyT+021059\r"


@pytest.fixture
def simulator() -> Iterator[ChillerSimulator]:
    """A running simulator with the units 1 and 5."""
    with ChillerSimulator((1, 5)) as running:
        yield running


def connect(simulator: ChillerSimulator) -> socket.socket:
    """Return a client of a new TCP port."""
    host, _, port = simulator.listen_tcp().removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), TIMEOUT)


def receive(client: socket.socket, size: int) -> bytes:
    """Return exactly ``size`` bytes, or fewer at the end."""
    data = b""
    while len(data) < size and (chunk := client.recv(size - len(data))):
        data += chunk
    return data


def test_many_clients(simulator: ChillerSimulator) -> None:
    """Clients come in at once and each gets its own replies."""
    url = simulator.listen_tcp()
    host, _, port = url.removeprefix("tcp://").rpartition(":")
    clients = [socket.create_connection((host, int(port)), TIMEOUT) for _ in range(20)]
    for client in clients:
        client.sendall(ASK)
    assert [receive(client, len(ANSWER)) for client in clients] == [ANSWER] * 20
    for client in clients:
        client.close()


def test_units_on_one_line(simulator: ChillerSimulator) -> None:
    """Each unit answers to its own id; an id that nobody has gets silence."""
    simulator.units[5].plant.supply = 9.5
    with connect(simulator) as client:
        client.sendall(b".0704rSupplyT4C\r.xx04rSupplyT00\r.0504rSupplyT4A\r")
        assert receive(client, 22) == b"#05040rSupplyT+009568\r"


def test_command_in_pieces(simulator: ChillerSimulator) -> None:
    """A command that arrives byte by byte, after noise, is answered."""
    with connect(simulator) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"\r\n?." + ASK:
            client.sendall(bytes([byte]))
        assert receive(client, len(ANSWER)) == ANSWER


def test_gap_in_a_command() -> None:
    """With a limit for gaps, a command that pauses is dropped in silence."""
    with ChillerSimulator((1, 5), gap_limit=0.0) as simulator, connect(simulator) as client:
        client.sendall(b".0504rSupplyT4A\r" + ASK[:5])
        assert len(receive(client, 22)) == 22
        client.sendall(ASK[5:] + ASK)
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 1000) == ANSWER


def test_terminal(simulator: ChillerSimulator) -> None:
    """The same line can be had as a serial port."""
    path = simulator.listen_pty().removeprefix("serial://")
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        assert termios.tcgetattr(port)[3] & termios.ICANON == 0
        os.write(port, ASK)
        data = b""
        while len(data) < len(ANSWER):
            data += os.read(port, 64)
        assert data == ANSWER
    finally:
        os.close(port)


def test_pace_of_a_serial_line() -> None:
    """With a baud rate a reply takes its time, and stopping does not wait for it."""
    with ChillerSimulator(baudrate=9600) as simulator, connect(simulator) as client:
        client.sendall(ASK)
        assert receive(client, len(ANSWER)) == ANSWER
        simulator.baudrate = 1
        client.sendall(ASK)
        simulator.stop()
        assert receive(client, 1) == b""
