"""Mistakes of users that type checkers find, each with a part of what mypy says; it is checked and not run."""

from __future__ import annotations

import enum
import socket

from typing_extensions import Unpack

import cnx
from cnx.connections.sockets import SocketSettings
from cnx.signals import Emitter
from cnx.testing import connection_pair, serial_pair

URL = "tcp://plc:4001"


def misspelt_settings(sock: socket.socket) -> None:
    """Of every kind of connection, and of everything that passes settings on."""
    cnx.SocketConnection("plc", 4001, terminater=b"")  # E: "SocketConnection"; did you mean "terminator"
    cnx.SocketConnection("plc", 4001, sever_hostname="plc")  # E: did you mean "server_hostname"
    cnx.SocketConnection("plc", 4001, conect_timeout=1.0)  # E: did you mean "connect_timeout"
    cnx.SocketConnection.from_socket(sock, terminater=b"")  # E: did you mean "terminator"
    cnx.SerialConnection("COM3", baudrte=9600)  # E: did you mean "baudrate"
    cnx.SerialConnection("COM3", partiy="E")  # E: did you mean "parity"
    cnx.UnixConnection("/run/device.sock", encodng="ascii")  # E: did you mean "encoding"
    cnx.UdpConnection("plc", 5005, lokal=("", 5005))  # E: did you mean "local"
    cnx.connection(URL, baudrte=9600)  # E: "baudrte" for "connection"; did you mean "baudrate"
    cnx.connect(URL, terminater=b"")  # E: "terminater" for "connect"; did you mean "terminator"
    cnx.connect(URL, cnx.UdpConnection, lokal=("", 5005))  # E: did you mean "local"
    cnx.SocketOptions(nodealy=True)  # E: did you mean "nodelay"
    cnx.Backoff(atempts=3)  # E: did you mean "attempts"
    cnx.ConnectionManager(cnx.connection(URL), backof=cnx.Backoff())  # E: did you mean "backoff"
    connection_pair(terminater=b"")  # E: did you mean "terminator"
    serial_pair(baudrte=9600)  # E: did you mean "baudrate"
    Meter("meter", terminater=b"")  # E: did you mean "terminator"


def settings_of_another_kind() -> None:
    """Known to the library, but not to this class."""
    cnx.UdpConnection("plc", 5005, terminator=b"")  # E: Unexpected keyword argument "terminator"
    cnx.UnixConnection("/run/device.sock", baudrate=9600)  # E: Unexpected keyword argument "baudrate"
    connection_pair(baudrate=9600)  # E: Unexpected keyword argument "baudrate"


def values_of_the_wrong_type() -> None:
    """Text for bytes, and the like."""
    cnx.SocketConnection("plc", 4001, terminator="\n")  # E: incompatible type "str"; expected "bytes"
    cnx.connect(URL, timeout="1 s")  # E: incompatible type "str"; expected "float | None"
    cnx.SocketConnection("plc", "4001")  # E: incompatible type "str"; expected "int"
    cnx.connect(URL).write("text")  # E: incompatible type "str"; expected "bytes | bytearray | memoryview
    cnx.connect(URL).read(5, 2.0)  # E: Too many positional arguments for "read"


def misspelt_methods(manager: cnx.ConnectionManager[cnx.StreamConnection]) -> None:
    """Of whatever the library returns."""
    cnx.connect(URL).reed_str()  # E: "StreamConnection" has no attribute "reed_str"; maybe "read_str"
    cnx.connection(URL).conect()  # E: "StreamConnection" has no attribute "conect"
    cnx.SerialConnection("COM3").connect().write_st("x")  # E: "SerialConnection" has no attribute "write_st"
    manager.wait_untill("connected")  # E: has no attribute "wait_untill"
    manager.connection.reed_str()  # E: "StreamConnection" has no attribute "reed_str"
    with connection_pair() as (connection, _):
        connection.reed_str()  # E: "SocketConnection" has no attribute "reed_str"


def datagrams_are_no_stream() -> None:
    """UDP has no reading methods of a stream, and a stream is no UDP."""
    cnx.UdpConnection("plc", 5005).read_str()  # E: "UdpConnection" has no attribute "read_str"
    cnx.connect("udp://plc:5005", cnx.UdpConnection).readline()  # E: "UdpConnection" has no attribute "readline"
    cnx.connect("udp://plc:5005", cnx.UdpConnection).send("text")  # E: incompatible type "str"
    port: cnx.UdpConnection = cnx.connect("udp://plc:5005")  # E: expression has type "StreamConnection"
    port.send(b"ping")
    print(cnx.connection(URL).baudrate)  # E: "StreamConnection" has no attribute "baudrate"
    cnx.connection(URL, cnx.Listener)  # E: Value of type variable "Kind" of "connection" cannot be "Listener"


class Meter(cnx.SocketConnection):
    """Overrides what belongs to the library."""

    def __init__(self, host: str, **settings: Unpack[SocketSettings]) -> None:
        super().__init__(host, 5025, **settings)

    def readline(self, *, timeout: float | None = None) -> bytes:  # E: Cannot override final attribute "readline"
        """Belongs to the library."""
        return b""

    def disconnect(self) -> None:  # E: Cannot override final attribute "disconnect"
        """Is an extension point of a plain connection only."""

    def prepare(self) -> None:  # E: Signature of "prepare" incompatible
        """Has a deadline."""

    @property  # E: Cannot override final attribute "host"
    def host(self) -> str:
        """Is a property of the library."""
        return ""


class Camera(cnx.Connection):
    """Lacks a method."""

    def try_connect(self) -> bool:
        """Open it."""
        return True

    def disconnect(self) -> None:
        """Close it."""


def unfinished() -> None:
    """A plain connection needs three methods."""
    Camera()  # E: Cannot instantiate abstract class "Camera" with abstract attribute "teardown"


class Alarms(enum.Enum):
    """Is no enumeration of signals."""

    OVERHEATED = "overheated"


def signals(meter: Meter) -> None:
    """A signal is a member of an enumeration of signals."""
    cnx.subscribe(meter, "conected", print)  # E: "subscribe" has incompatible type "str"; expected "Signal"
    cnx.subscribe(meter, Alarms.OVERHEATED, print)  # E: "subscribe" has incompatible type "Alarms"; expected "Signal"
    cnx.subscribe(meter, meter.Signals.CONECTED, print)  # E: "type[Signals]" has no attribute "CONECTED"
    cnx.subscribe(meter, meter.Signals.CONNECTED, 5)  # E: Argument 3 to "subscribe" has incompatible type "int"
    cnx.subscribe(meter, meter.Signals.CONNECTED, print).cancle()  # E: "Subscription" has no attribute "cancle"
    cnx.emit(meter, "conected")  # E: Argument 2 to "emit" has incompatible type "str"; expected "Signal"
    cnx.has_subscribers(meter, "conected")  # E: Argument 2 to "has_subscribers" has incompatible type "str"
    Emitter(meter, "conected", "data")  # E: Argument 2 to "Emitter" has incompatible type "str"; expected "Signal"
