"""The numbers of the SmartBus protocol: command types, commands, client types, presence and error codes.

Source: the constants of the header ``smartbus.h`` as the public Python package
``hesong-ipsc-busnetcli`` declares them, and the behaviour of its library ``libbusnetcli.so`` 1.0.1.0465.
"""

from __future__ import annotations

import enum

__all__ = ["ClientType", "CmdType", "Code", "InternalCmd", "Presence", "SystemCmd"]


class CmdType(enum.IntEnum):
    """The kind of a packet; applications choose the meaning of values above 5."""

    INTERNAL = 0
    SYSTEM = 1
    FILE = 2
    USER = 3
    GUARD_CMD = 4
    GUARD_FILE = 5


class InternalCmd(enum.IntEnum):
    """Commands between a client and its server, of type ``CmdType.INTERNAL``."""

    REGISTER = 1
    REGISTER_ACK = 2
    HEARTBEAT = 5
    HEARTBEAT_ACK = 6


class SystemCmd(enum.IntEnum):
    """Commands of type ``CmdType.SYSTEM`` that the bus defines; others are data."""

    PING = 7
    PING_ACK = 8
    GLOBAL_CONNECT = 9
    GLOBAL_CONNECT_EXISTING = 10
    INVOKE_FLOW = 11
    INVOKE_FLOW_RET = 12
    INVOKE_FLOW_ACK = 13
    NOTIFY = 15


class ClientType(enum.IntEnum):
    """The client types that the bus defines; applications use numbers above 8."""

    NULL = 0
    NODE = 1
    IPSC = 2
    MONITOR = 3
    AGENT = 4
    DB = 5


class Presence(enum.IntEnum):
    """What a global connect notice reports of a client."""

    GONE = 0
    NEW = 1
    EXISTING = 2


MEANINGS = {
    0: "OK",
    -1: "invalid argument",
    -2: "connection not established",
    -3: "connection broken",
    -4: "authentication failed",
    -5: "wrong user name",
    -6: "wrong password",
    -7: "buffer full",
    -8: "node does not exist",
    -9: "client does not exist",
    -10: "already connected",
    -11: "sending to oneself",
    -12: "invalid unit id",
    -13: "invalid client id",
    -14: "not initialised",
    -15: "too much data",
    -16: "invalid command type",
    -17: "invalid client type",
    -18: "error sending data",
    -19: "out of memory",
    -20: "cannot connect",
    -21: "too many clients",
    -22: "client exists already",
    -23: "destination does not exist",
    -24: "registered twice",
    -25: "timeout",
    -99: "other error",
}


class Code(enum.IntEnum):
    """The error codes that cnx uses; :func:`meaning` describes all of them."""

    OK = 0
    ARGUMENT = -1
    NOT_ESTABLISHED = -2
    BROKEN = -3
    WRONG_USER = -5
    WRONG_PASSWORD = -6
    BUFFER_FULL = -7
    NO_NODE = -8
    NO_CLIENT = -9
    ALREADY_CONNECTED = -10
    INVALID_UNIT = -12
    INVALID_CLIENT_TYPE = -17
    CANNOT_CONNECT = -20
    TOO_MANY_CLIENTS = -21
    NO_DESTINATION = -23
    TIMEOUT = -25
    OTHER = -99


def meaning(code: int) -> str:
    """Return the English meaning of an error code, also of an unknown one."""
    return MEANINGS.get(code, f"unknown code {code}")
