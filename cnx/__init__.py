"""Connections to real things that stay up: threads, signals, recovery.

::

    import cnx

    with cnx.connect("tcp://127.0.0.1:4001") as connection:
        connection.write_str("hello")
        print(connection.read_str(timeout=2.0))
"""

import logging

from cnx.backoff import Backoff
from cnx.connection import Connection, Traffic
from cnx.deadline import Deadline
from cnx.errors import (
    AccessDenied,
    Cancelled,
    CnxError,
    ConnectError,
    ConnectionLost,
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
from cnx.lifecycle import State
from cnx.listener import Listener
from cnx.manager import ConnectionManager, Counters
from cnx.serial_connection import SerialConnection
from cnx.signals import Signal, Subscription, emit, subscribe
from cnx.socket_connection import SocketConnection, UnixConnection
from cnx.stream import StreamConnection
from cnx.transports.sockets import SocketOptions
from cnx.transports.transport import Transport
from cnx.udp_connection import UdpConnection
from cnx.urls import connect, connection

__all__ = [
    "AccessDenied",
    "Backoff",
    "Cancelled",
    "CnxError",
    "ConnectError",
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
    "subscribe",
]

logging.getLogger("cnx").addHandler(logging.NullHandler())
