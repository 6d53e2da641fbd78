"""Connections to devices and servers that stay up: with threads, signals and recovery.

::

    import cnx

    with cnx.connect("tcp://127.0.0.1:4001") as connection:
        connection.write_str("hello")
        print(connection.read_str(timeout=2.0))
"""

import logging

from cnx.connections.cancellable import CancellableConnection
from cnx.connections.connection import Connection, Traffic
from cnx.connections.serial_port import SerialConnection
from cnx.connections.sockets import SocketConnection, UnixConnection
from cnx.connections.stream import StreamConnection
from cnx.connections.udp import UdpConnection
from cnx.connections.urls import connect, connection, register_scheme
from cnx.deadline import Deadline
from cnx.errors import (
    AccessDenied,
    Cancelled,
    CnxError,
    ConnectError,
    ConnectionLost,
    ConnectTimedOut,
    DeviceError,
    EncodingError,
    IncompleteRead,
    InvalidJson,
    LimitExceeded,
    NotConnected,
    PeerClosed,
    ProtocolError,
    TimedOut,
    TornDown,
)
from cnx.framing import Delimited, FixedSize, Framing, LengthPrefixed, Raw, Struct
from cnx.json_lines import JsonLines
from cnx.link.listener import Listener
from cnx.manager.backoff import Backoff
from cnx.manager.lifecycle import State
from cnx.manager.manager import ConnectionManager, Counters
from cnx.signals import Signal, Subscription, emit, has_subscribers, subscribe
from cnx.threads.hook import excepthook
from cnx.transports.sockets import SocketOptions
from cnx.transports.transport import Transport

__all__ = [
    "AccessDenied",
    "Backoff",
    "CancellableConnection",
    "Cancelled",
    "CnxError",
    "ConnectError",
    "ConnectTimedOut",
    "Connection",
    "ConnectionLost",
    "ConnectionManager",
    "Counters",
    "Deadline",
    "Delimited",
    "DeviceError",
    "EncodingError",
    "FixedSize",
    "Framing",
    "IncompleteRead",
    "InvalidJson",
    "JsonLines",
    "LengthPrefixed",
    "LimitExceeded",
    "Listener",
    "NotConnected",
    "PeerClosed",
    "ProtocolError",
    "Raw",
    "SerialConnection",
    "Signal",
    "SocketConnection",
    "SocketOptions",
    "State",
    "StreamConnection",
    "Struct",
    "Subscription",
    "TimedOut",
    "TornDown",
    "Traffic",
    "Transport",
    "UdpConnection",
    "UnixConnection",
    "connect",
    "connection",
    "emit",
    "excepthook",
    "has_subscribers",
    "register_scheme",
    "subscribe",
]

logging.getLogger("cnx").addHandler(logging.NullHandler())
