"""EPSNET, the protocol of Tecomat PLCs: the header of its UDP form and the frame with data.

Little is known: a header, one kind of frame, the short acknowledgement and one service (set the clock). The sources
are the tool dpavlis/tecomat_foxtrot_plc_rtc (MIT licence; made from a network capture, cites Teco's manual TXV 004
69.01, chapters 5.4 and 5.6.2, which is not public) and ``Zmeny.txt``, the change log of Teco's PLCComS. The widths of
the header's fields are inferred from two captured datagrams. A tunnel needs only the message id, which an answer
repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cnx.errors import ProtocolError
from cnx.framing import shorten

__all__ = ["ACKNOWLEDGE", "SET_CLOCK", "Datagram", "Frame", "acknowledgement", "checksum", "message_id", "set_clock"]

ACKNOWLEDGE = b"\xe5"
"""The short positive answer."""

SET_CLOCK = 8
"""Code of the service that sets the clock, in the first data byte of a frame with function 0x63."""

HEADER_SIZE = 6
START, END = 0x68, 0x16
ADDRESSES = 3
DATA_LIMIT = 255 - ADDRESSES


@dataclass(frozen=True)
class Datagram:
    """One EPSNET datagram: the content of one UDP packet, or of one message of a TecoRoute tunnel.

    Attributes:
        message_id: two bytes that the answer repeats.
        frames: one frame or several, back to back.
        number: third byte of the header ("PN", 0 to 255), the same in an answer; its meaning is not known.
    """

    message_id: bytes
    frames: bytes
    number: int = 2

    def __post_init__(self) -> None:
        if len(self.message_id) != 2:
            raise ValueError(f"a message id must have two bytes, not {self.message_id!r}")
        if len(self.frames) > 0xFFFF:
            raise ValueError(f"the frames of a datagram must have at most 65535 bytes, not {len(self.frames)}")

    def encode(self) -> bytes:
        """Return the bytes: header, frames, and a zero byte where the length would be odd."""
        header = self.message_id + bytes((self.number, 0)) + len(self.frames).to_bytes(2, "big")
        return header + self.frames + bytes(len(self.frames) % 2)

    @classmethod
    def decode(cls, data: bytes) -> Datagram:
        """Return the datagram in ``data``, with or without the padding byte.

        Raises:
            ProtocolError: the length in the header does not match the data.
        """
        size = int.from_bytes(data[4:6], "big")
        padding = len(data) - HEADER_SIZE - size
        if len(data) < HEADER_SIZE or padding not in (0, 1):
            raise ProtocolError(f"not an EPSNET datagram: {shorten(data)}")
        return cls(data[:2], data[HEADER_SIZE : HEADER_SIZE + size], data[2])


@dataclass(frozen=True)
class Frame:
    """A frame with data (SD2 of PROFIBUS).

    Attributes:
        function: function code; only 0x63 is known.
        data: 0 to 252 bytes.
        destination: address of the PLC, 0 to 255.
        source: address of the master, 0 to 255; 1 to 126 are usual.
    """

    function: int
    data: bytes
    destination: int = 0
    source: int = 0x7D

    def encode(self) -> bytes:
        """Return the bytes.

        Raises:
            ValueError: a number does not fit into a byte, or there is too much data.
        """
        if len(self.data) > DATA_LIMIT:
            raise ValueError(f"a frame must have at most {DATA_LIMIT} data bytes, not {len(self.data)}")
        payload = bytes((self.destination, self.source, self.function)) + self.data
        return bytes((START, len(payload), len(payload), START)) + payload + bytes((checksum(payload), END))

    @classmethod
    def decode(cls, data: bytes) -> Frame:
        """Return the frame that ``data`` consists of.

        Raises:
            ProtocolError: delimiters, lengths or the checksum are wrong.
        """
        size = len(data) - 6
        if not ADDRESSES <= size <= 255 or data[:4] != bytes((START, size, size, START)) or data[-1] != END:
            raise ProtocolError(f"not an EPSNET frame with data: {shorten(data)}")
        payload = data[4:-2]
        if checksum(payload) != data[-2]:
            raise ProtocolError(f"an EPSNET frame with checksum {data[-2]:#04x} instead of {checksum(payload):#04x}")
        return cls(payload[2], payload[3:], payload[0], payload[1])


def checksum(payload: bytes) -> int:
    """Return the sum of all bytes from the destination to the last data byte, modulo 256."""
    return sum(payload) & 0xFF


def message_id(data: bytes) -> bytes | None:
    """Return the message id of a datagram, or ``None`` if ``data`` does not look like EPSNET."""
    padding = len(data) - HEADER_SIZE - int.from_bytes(data[4:6], "big")
    return data[:2] if len(data) > HEADER_SIZE and padding in (0, 1) else None


def acknowledgement(request: bytes) -> bytes:
    """Return the datagram with which a PLC acknowledges ``request``.

    Raises:
        ProtocolError: ``request`` is not EPSNET.
    """
    asked = Datagram.decode(request)
    return Datagram(asked.message_id, ACKNOWLEDGE, asked.number).encode()


def set_clock(when: datetime, message_id: bytes = b"\x02\x01") -> bytes:
    """Return the datagram that sets the PLC's clock to ``when`` (years 2000 to 2255; local time of the PLC).

    The PLC answers with an acknowledgement.
    """
    if not 2000 <= when.year <= 2255:
        raise ValueError(f"the year must be between 2000 and 2255, not {when.year}")
    clock = (when.year - 2000, when.month, when.day, when.hour, when.minute, when.second, when.isoweekday())
    return Datagram(message_id, Frame(0x63, bytes((SET_CLOCK, *clock))).encode()).encode()
