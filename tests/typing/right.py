"""Code of users that type checkers accept, with the types that they see; it is checked and not run."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from typing_extensions import Unpack, assert_type, override

import cnx
from cnx.connections.sockets import SocketSettings
from cnx.connections.stream import StreamSettings
from cnx.connections.transport import TransportConnection
from cnx.signals import Emitter
from cnx.testing import PtyPeer, connection_pair, scripted_peer, serial_pair


def settings() -> Iterator[cnx.StreamConnection]:
    """Every setting of every kind has a type."""
    options = cnx.SocketOptions(nodelay=False, keepalive=None)
    yield cnx.SocketConnection("plc", 4001, tls=True, options=options, terminator=b"\n", timeout=2.0, name="PLC")
    yield cnx.SerialConnection("/dev/ttyUSB0", 115200, parity="E", exclusive=True, encoding="ascii", limit=1000)
    yield cnx.UnixConnection("/run/device.sock", framing=cnx.JsonLines(), record=0, silence_limit=3.0)
    yield cnx.SocketConnection("plc", 4001, heartbeat=b"\0", heartbeat_interval=1.0, listener=cnx.Listener())
    yield cnx.SocketConnection.from_socket(socket.socket(), connect_timeout=None, terminator=b"\r")


def streams(url: str) -> None:
    """A URL gives a stream."""
    with cnx.connect(url, timeout=1.0, baudrate=115200) as connection:
        assert_type(connection, cnx.StreamConnection)
        connection.write_str("hello", timeout=1.0)
        assert_type(connection.read_str(), str)
        assert_type(connection.readexactly(4), bytes)
        assert_type(connection.request(b"*IDN?\n", timeout=3.0), bytes)
    assert_type(cnx.connection(url), cnx.StreamConnection)
    assert_type(cnx.connection(url).connect(), cnx.StreamConnection)


def other_kinds(url: str) -> None:
    """The second argument names another kind."""
    assert_type(cnx.connection(url, cnx.SerialConnection, parity="E"), cnx.SerialConnection)
    assert_type(cnx.connection(url, TransportConnection), TransportConnection)
    with cnx.connect(url, cnx.UdpConnection, local=("", 5005)) as port:
        assert_type(port, cnx.UdpConnection)
        port.send(b"ping")
        assert_type(port.receive(timeout=1.0), bytes)


def managed(connection: cnx.SocketConnection) -> None:
    """A manager knows the kind of its connection."""
    with cnx.ConnectionManager(connection, backoff=cnx.Backoff(attempts=3), persist=True) as manager:
        assert_type(manager, cnx.ConnectionManager[cnx.SocketConnection])
        assert_type(manager.connection.host, str)
        assert_type(manager.state, cnx.State)
        show(manager)
    assert_type(cnx.ConnectionManager(cnx.connection("tcp://plc:4001")).connection, cnx.StreamConnection)


def show(manager: cnx.ConnectionManager) -> str:
    """A function for managers of every kind of connection."""
    assert_type(manager.connection, cnx.Connection)
    return manager.connection.name


class MeterSignals(cnx.Signal):
    """Signals of a user's own."""

    OVERHEATED = "overheated"


class Meter(cnx.SocketConnection):
    """A subclass that passes settings on, with their types."""

    message_signals = (MeterSignals.OVERHEATED,)

    def __init__(self, host: str, *, unit: int = 1, **settings: Unpack[SocketSettings]) -> None:
        super().__init__(host, 5025, **settings)
        self.unit = unit

    @override
    def prepare(self, deadline: cnx.Deadline) -> None:
        """Log in."""
        self.request(b"*IDN?\n", timeout=deadline.remaining())

    @override
    def emit_messages(self, messages: list[bytes]) -> None:
        """Emit messages by their kind."""
        self.emit_each(MeterSignals.OVERHEATED, messages)


class Program(cnx.StreamConnection):
    """A stream that is opened in a way of its own."""

    def __init__(self, *command: str, **settings: Unpack[StreamSettings]) -> None:
        super().__init__(**settings)
        self.command = command

    @override
    def open_transport(self, deadline: cnx.Deadline) -> cnx.Transport:
        """Open it."""
        raise cnx.ConnectError(f"cannot start {self.command}")


class Camera(cnx.Connection):
    """A plain connection."""

    @override
    def try_connect(self) -> bool:
        """Open it."""
        return True

    @override
    def disconnect(self) -> None:
        """Close it."""

    @override
    def teardown(self) -> None:
        """Close it for good."""


def subclasses() -> None:
    """They have their own types where the library returns them."""
    assert_type(Meter("meter", unit=2, terminator=b"\n", tls=True).connect(), Meter)
    assert_type(Meter.from_socket(socket.socket(), timeout=1.0), Meter)
    assert_type(Program("cat", timeout=1.0).read(), bytes)
    with Camera(name="camera") as camera:
        assert_type(camera, Camera)


def signals(meter: Meter, manager: cnx.ConnectionManager[Meter]) -> None:
    """Signals of the library and of users."""
    got: list[bytes] = []
    with cnx.subscribe(meter, meter.Signals.DATA_RECEIVED, got.append) as subscription:
        assert_type(subscription.active, bool)
    cnx.subscribe(meter, cnx.Connection.Signals.CONNECTED, lambda: print("connected"))
    cnx.subscribe(manager, manager.Signals.STATE_CHANGED, lambda old, new: print(old, new))
    cnx.subscribe(meter, MeterSignals.OVERHEATED, print).cancel()
    for signal in MeterSignals:
        assert_type(cnx.has_subscribers(meter, signal), bool)
    Emitter(meter, MeterSignals.OVERHEATED, "degrees").emit(90.5)


def fakes() -> None:
    """What tests of device code use."""
    with connection_pair(terminator=b"\n", timeout=1.0) as (connection, peer), scripted_peer(peer, [(b"a", b"b")]):
        assert_type(connection, cnx.SocketConnection)
        assert_type(peer, socket.socket)
    with serial_pair(baudrate=19200, encoding="ascii") as (port, device):
        assert_type(port, cnx.SerialConnection)
        assert_type(device, PtyPeer)


def new_scheme() -> None:
    """A scheme of a user's own."""
    cnx.register_scheme("meter", lambda parts, query, settings: Meter(parts.netloc, **settings))
