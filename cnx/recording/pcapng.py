"""Write and read capture files for Wireshark (pcapng): the part of the format that the bytes of connections need.

Source: draft-ietf-opsawg-pcapng, *PCAP Next Generation (pcapng) Capture File Format*: Section Header, Interface
Description and Enhanced Packet Blocks. The packets, IPv4 (RFC 791) and TCP (RFC 9293), are made up around the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from cnx.errors import ProtocolError
from cnx.recording.recorder import ENDED, OPENED, Record

__all__ = ["CaptureWriter", "read_capture"]

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
MAGIC = 0x1A2B3C4D
RAW_IP = 101
COMMENT = 1
LONGEST_BLOCK = 1 << 24
LONGEST_PAYLOAD = 60_000
LONGEST_COMMENT = 60_000

NEAR, FAR = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))  # addresses for documentation, RFC 5737
FAR_PORT, FIRST_PORT = 4001, 49152
FIN, SYN, PUSH, ACK = 1, 2, 8, 16


class CaptureWriter:
    """Writes records as packets of TCP connections, one for each link. Not thread-safe.

    Args:
        file: opened for writing bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._port = FIRST_PORT
        self._next = {"<": 1, ">": 1}  # sequence numbers
        header = struct.pack("<IHHq", MAGIC, 1, 0, -1)
        file.write(block(SECTION, header) + block(INTERFACE, struct.pack("<HHI", RAW_IP, 0, 0)))

    def write(self, record: Record) -> None:
        """Write one record; raises OSError."""
        if record.direction != "*":
            self._write_data(record)
        elif record.text == OPENED:
            self._port = self._port + 1 if self._port < 65535 else FIRST_PORT
            self._next = {"<": 0, ">": 0}
            self._packet(record, ">", SYN, comment=record.text)
            self._packet(record, "<", SYN | ACK)
            self._packet(record, ">", ACK)
        elif record.text.startswith(ENDED):
            self._packet(record, "<", FIN | ACK, comment=record.text)
            self._packet(record, ">", FIN | ACK)
        else:
            self._packet(record, ">", ACK, comment=record.text)

    def _write_data(self, record: Record) -> None:
        """Write a piece as packets of a valid size; bytes that were not kept are cut off, as in any short capture."""
        for start in range(0, record.size, LONGEST_PAYLOAD):
            size = min(LONGEST_PAYLOAD, record.size - start)
            self._packet(record, record.direction, PUSH | ACK, record.data[start : start + size], size)

    def _packet(
        self, record: Record, way: str, flags: int, data: bytes = b"", size: int = 0, comment: str = ""
    ) -> None:
        back = "<" if way == ">" else ">"
        ports = (self._port, FAR_PORT) if way == ">" else (FAR_PORT, self._port)
        acknowledged = self._next[back] if flags & ACK else 0
        # no TCP checksum: that of a shortened packet is not known
        tcp = struct.pack(">HHIIBBHHH", *ports, self._next[way], acknowledged, 5 << 4, flags, 65535, 0, 0)
        packet = ip_header(way, len(tcp) + size) + tcp + data
        microseconds = max(0, round(record.time * 1_000_000))  # a clock may be set wrong
        missing = size - len(data)
        head = struct.pack(
            "<IIIII", 0, microseconds >> 32, microseconds & 0xFFFFFFFF, len(packet), len(packet) + missing
        )
        text = comment.encode("utf-8", "replace")[:LONGEST_COMMENT]
        options = struct.pack("<HH", COMMENT, len(text)) + padded(text) + bytes(4) if text else b""
        self._file.write(block(PACKET, head + padded(packet) + options))
        self._next[way] = (self._next[way] + size + bool(flags & (SYN | FIN))) & 0xFFFFFFFF


def ip_header(way: str, size: int) -> bytes:
    """Return the header of an IPv4 packet with ``size`` bytes of TCP in it."""
    addresses = NEAR + FAR if way == ">" else FAR + NEAR
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, 6, 0) + addresses
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return header[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + header[12:]


def padded(data: bytes) -> bytes:
    """Return ``data`` with zeros up to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)


def block(kind: int, body: bytes) -> bytes:
    """Return a block."""
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def read_capture(file: BinaryIO) -> Iterator[Record]:
    """Yield the records in a file that :class:`CaptureWriter` wrote; blocks of other kinds are skipped.

    Raises:
        ProtocolError: it is not such a file, or it is damaged.
        OSError: it cannot be read.
    """
    kind, body = next_block(file, first=True)
    while kind is not None:
        if kind == INTERFACE and body[:2] != struct.pack("<H", RAW_IP):
            raise ProtocolError("these are not packets that cnx recorded: their link type is not raw IP")
        if kind == PACKET:
            yield from records_of(body)
        kind, body = next_block(file)


def next_block(file: BinaryIO, *, first: bool = False) -> tuple[int | None, bytes]:
    """Return kind and body of the next block; the kind is ``None`` at the end."""
    head = file.read(8)
    if not head and not first:
        return None, b""
    kind, size = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
    if first and kind != SECTION:
        raise ProtocolError("this is not a capture file: it does not begin like pcapng")
    if not 12 <= size <= LONGEST_BLOCK or size % 4:
        raise ProtocolError(f"a block must have 12 to {LONGEST_BLOCK} bytes, not {size}; the file is damaged")
    body = file.read(size - 8)
    if len(body) < size - 8 or body[-4:] != head[4:]:
        raise ProtocolError("the file ends in the middle of a block, or is damaged there")
    if kind == SECTION and body[:4] != struct.pack("<I", MAGIC):
        raise ProtocolError("the file has the byte order of another machine; cnx writes little-endian files")
    return kind, body[:-4]


def records_of(body: bytes) -> Iterator[Record]:
    """Yield the records in one packet: its comment, and its bytes."""
    if len(body) < 60 or body[29] != 6 or {body[32:36], body[36:40]} != {NEAR, FAR}:
        raise ProtocolError("a packet in the file is not one that cnx recorded")
    _, high, low, captured, size = struct.unpack_from("<5I", body)
    if not 40 <= captured <= min(size, len(body) - 20) or size - 40 > LONGEST_PAYLOAD:
        raise ProtocolError(f"a packet claims {captured} of {size} bytes; the file is damaged")
    moment = ((high << 32) | low) / 1_000_000
    comment = comment_in(body[20 + captured + -captured % 4 :])
    if comment:
        yield Record(moment, "*", text=comment)
    if size > 40:
        yield Record(moment, ">" if body[32:36] == NEAR else "<", body[60 : 20 + captured], size - 40)


def comment_in(options: bytes) -> str:
    """Return the comment at the beginning of a block's options."""
    if len(options) < 4:
        return ""
    code, size = struct.unpack_from("<HH", options)
    return options[4 : 4 + size].decode("utf-8", "replace") if code == COMMENT else ""
