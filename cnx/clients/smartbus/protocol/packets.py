"""SmartBus packets: addresses, the header of 20 bytes, padding and framing.

Source: the layout of ``SMARTBUS_PACKET_HEAD`` in ``smartbus.h``, and the packets that the library
``libbusnetcli.so`` 1.0.1.0465 of the public package ``hesong-ipsc-busnetcli`` sends and accepts.
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple

from cnx.buffer import MESSAGES_AT_ONCE, ReceiveBuffer
from cnx.clients.smartbus.protocol.layout import decode_text
from cnx.errors import LimitExceeded, ProtocolError
from cnx.framing import Framing, checked_limit

__all__ = ["BROADCAST", "UNKNOWN_UNIT", "Address", "Packet", "PacketFraming"]

FLAG = 0x5B15
"""The first two bytes of every packet, little endian."""
HEADER = struct.Struct("<HBBBBBBBB2xii")
"""Flag, command and its type; type, unit and client of source and destination; sizes of packet and data.

The header file declares the sizes as ``long``, but they have 4 bytes on the wire. Two reserved bytes are sent as zero.
"""
BROADCAST = 0xFF
"""The client id, or unit id, that means all of them."""
UNKNOWN_UNIT = 0xFF
"""The unit id of a server before the registration; -1 as a signed byte."""
CLIENT_UNITS = range(16, 48)
"""Unit ids of network clients."""
SERVER_UNITS = range(16)
"""Unit ids of servers."""
DESTINATION_UNITS = range(48)
"""Unit ids to which a packet can be sent."""
PAYLOAD_LIMIT = 0x0FFFFFFF
"""The most data that a packet carries, in bytes; the library refuses 256 MiB and more."""
PACKET_LIMIT = 16 * 1024 * 1024
"""The largest packet that is accepted by default, in bytes."""


class Address(NamedTuple):
    """The address of a client or server on the bus: unit id, client id and client type, one byte each."""

    unit: int
    client: int
    type: int

    def __str__(self) -> str:
        return f"{self.unit}/{self.client} type {self.type}"


def checked_address(unit: int, client: int, client_type: int) -> Address:
    """Return the address of a destination.

    Raises:
        ValueError, TypeError: a part is not an integer from 0 to 255.
    """
    checked_byte("unit id", unit)
    checked_byte("client id", client)
    checked_byte("client type", client_type)
    return Address(unit, client, client_type)


def checked_byte(name: str, value: int, allowed: range = range(256)) -> int:
    """Return ``value`` if it is an integer in ``allowed``; raises ValueError, TypeError."""
    if type(value) is not int and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value not in allowed:
        raise ValueError(f"{name} must be {allowed[0]} to {allowed[-1]}, not {value}")
    return value


class Packet(NamedTuple):
    """A packet: a command, its source and destination, and data."""

    cmd: int
    cmd_type: int
    source: Address
    destination: Address
    data: bytes = b""

    def text(self, encoding: str = "utf-8") -> str:
        """Return the data up to the first NUL as text, in ``encoding``, or else in UTF-8 or cp936."""
        return decode_text(self.data, encoding)

    def __bytes__(self) -> bytes:
        data = self.data
        size = len(data)
        # This is no alignment: n bytes of data are followed by n mod 4 bytes of padding, except in internal packets.
        padding = size & 3 if self.cmd_type else 0
        source, destination = self.source, self.destination
        header = HEADER.pack(
            FLAG, self.cmd, self.cmd_type, source[2], source[0], source[1],
            destination[2], destination[0], destination[1], HEADER.size + size + padding, size,
        )  # fmt: skip
        return header + data + b"\0\0\0"[:padding] if padding else header + data


class PacketFraming(Framing):
    """Cuts a stream into packets, and refuses a stream that breaks the rules.

    The library goes on after some malformed packets, hangs after others, and reads past the end of its buffer.

    Args:
        limit: the largest packet to accept with its header, in bytes.
    """

    def __init__(self, limit: int = PACKET_LIMIT) -> None:
        self.limit = checked_limit(limit)

    def take(self, buffer: ReceiveBuffer) -> Packet | None:
        """Remove and return the next packet; ``None`` if it is incomplete.

        Raises:
            ProtocolError: no header begins here, or its two sizes contradict each other.
            LimitExceeded: the packet would be larger than ``limit``.
        """
        available = len(buffer)
        if available < HEADER.size:
            return None
        header = HEADER.unpack(buffer.peek(HEADER.size))
        self._check(header[0], header[9], header[10])
        if available < header[9]:
            return None
        return _packet(header, buffer.take(header[9]), 0)

    def take_all(self, buffer: ReceiveBuffer) -> list[Packet]:
        """Remove the next complete packets in one pass, up to the first bad one: 256 at most.

        Raises:
            ProtocolError, LimitExceeded: the very first one is bad.
        """
        packets: list[Packet] = []
        data, begin = buffer.mark()
        start, end = begin, len(data)
        more = False
        while end - start >= HEADER.size:
            header = HEADER.unpack_from(data, start)
            try:
                self._check(header[0], header[9], header[10])
            except (ProtocolError, LimitExceeded):
                if not packets:
                    raise
                more = True  # it stays in the buffer, and is reported when it is the first one
                break
            if end - start < header[9]:
                break
            packets.append(_packet(header, data, start))
            start += header[9]
            if len(packets) == MESSAGES_AT_ONCE:
                more = True
                break
        if start == end:
            buffer.clear()
        else:
            buffer.skip(start - begin)
        buffer.exhausted = not more
        return packets

    def _check(self, flag: int, packet_size: int, data_size: int) -> None:
        if flag != FLAG:
            raise ProtocolError(
                f"a packet must begin with 0x{FLAG:04X}, not 0x{flag:04X}; the peer does not speak SmartBus"
            )
        if not 0 <= data_size <= packet_size - HEADER.size:
            raise ProtocolError(f"a packet of {packet_size} bytes cannot carry {data_size} bytes of data")
        if packet_size > self.limit:
            self.refuse(packet_size)


_address = functools.lru_cache(maxsize=4096)(Address)
"""As ``Address``; the same few addresses come in most packets, and to find one takes less time than to make it."""


def _packet(header: tuple[int, ...], data: bytes | bytearray, start: int) -> Packet:
    begin = start + HEADER.size
    return Packet(
        header[1],
        header[2],
        _address(header[4], header[5], header[3]),
        _address(header[7], header[8], header[6]),
        bytes(data[begin : begin + header[10]]),
    )
