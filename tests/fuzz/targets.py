"""Every parser, as a function that takes any bytes and raises only if the parser broke its promises."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from cnx import (
    Delimited,
    EncodingError,
    FixedSize,
    Framing,
    JsonLines,
    LengthPrefixed,
    LimitExceeded,
    ProtocolError,
    Struct,
    connection,
)
from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.protocol.frames import Frames, parse_call, parse_reply, parse_text
from cnx.clients.m2.protocol.messages import BrokenMessage, Kind, M2Lines, kind_of
from cnx.clients.m2.protocol.messages import parse_reply as parse_m2_reply
from cnx.clients.smartbus.protocol.flows import FlowAck, FlowReturn, InvokeFlow, Notify, load_values
from cnx.clients.smartbus.protocol.messages import GlobalConnect, Heartbeat, Register, RegisterAck
from cnx.clients.smartbus.protocol.packets import PacketFraming
from cnx.clients.tecoroute.protocol import session as tecoroute
from cnx.clients.tecoroute.protocol.epsnet import Datagram, Frame, acknowledgement, message_id
from cnx.clients.tecoroute.protocol.http import RequestReader, ResponseReader
from cnx.connections.transport import TransportConnection
from cnx.faults import parse as parse_fault
from cnx.recording.pcapng import read_capture

__all__ = ["TARGETS"]

EXPECTED = (ProtocolError, LimitExceeded, EncodingError)

Target = Callable[[bytes], None]

PIECES = 4
"""Pieces that an input is cut into, at most."""


class Point(ctypes.BigEndianStructure):
    """Something to read."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("x", ctypes.c_uint8), ("y", ctypes.c_uint16))

    def __eq__(self, other: object) -> bool:
        return bytes(self) == bytes(other)  # type: ignore[call-overload]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.x},{self.y}"


def in_pieces(framing: Framing, data: bytes, size: int) -> tuple[list[Any], object]:
    """Return the messages that come one by one of data that come in pieces, and the kind of error that ended it."""
    buffer, messages = ReceiveBuffer(), []
    try:
        for start in range(0, len(data), size):
            buffer.append(data[start : start + size])
            while (message := framing.take(buffer)) is not None:
                messages.append(message)
    except EXPECTED as error:
        return messages, type(error)
    return messages, None


def at_once(framing: Framing, data: bytes) -> tuple[list[Any], object]:
    """Return the same for data that come and are taken at once."""
    buffer, messages = ReceiveBuffer(), []
    buffer.append(data)
    try:
        while found := framing.take_all(buffer):
            messages += found
    except EXPECTED as error:
        return messages, type(error)
    return messages, None


def frame(make: Callable[[], Framing], data: bytes) -> None:
    """However bytes are cut, and whichever way messages are taken, they are the same messages."""
    if len(data) > 1:
        size, data = 1 + max(data[0], len(data) // PIECES), data[1:]
        whole, cut = at_once(make(), data), in_pieces(make(), data, size)
        # what is not equal may still look the same, as NaN does
        assert whole == cut or repr(whole) == repr(cut), f"{data!r} in pieces of {size}: {cut} instead of {whole}"


def every(parsers: Iterable[Callable[[bytes], object]], data: bytes) -> None:
    """Bad bytes are a ProtocolError, and nothing else."""
    for parser in parsers:
        with suppress(ProtocolError, LimitExceeded):
            parser(data)


def text(parser: Callable[[str], object], data: bytes) -> None:
    """What a person typed wrong is a ValueError."""
    with suppress(ValueError):
        parser(data.decode("latin-1" if data[:1] == b"\xff" else "utf-8", "surrogateescape"))


def chiller_reply(data: bytes) -> None:
    """Parse a reply, and what it says."""
    reply = parse_reply(data)
    for lenient in (True, False):
        with suppress(ProtocolError):
            call, _ = parse_call(b"." + data[1:])
            reply.value(call, lenient=lenient)


def m2_message(data: bytes) -> None:
    """Parse lines, and what they mean."""
    buffer = ReceiveBuffer()
    buffer.append(data + b"\r\n")
    for message in M2Lines().take_all(buffer):
        if not isinstance(message, BrokenMessage) and kind_of(message) is Kind.REPLY:
            with suppress(ProtocolError):
                parse_m2_reply(message)


def url(data: str) -> None:
    """Make a connection, which opens nothing; files with certificates are left alone."""
    if "ca=" not in data.lower() and "%" not in data:
        connection(data, TransportConnection)


TARGETS: dict[str, Target] = {
    "delimited": partial(frame, lambda: Delimited(b"\r\n", limit=64)),
    "delimited-keep": partial(frame, lambda: Delimited(b"ab", keep=True, limit=64)),
    "length-prefixed": partial(frame, lambda: LengthPrefixed(1, limit=64)),
    "length-prefixed-4": partial(frame, lambda: LengthPrefixed(4, "little", includes_header=True, limit=64)),
    "fixed-size": partial(frame, lambda: FixedSize(3)),
    "struct": partial(frame, lambda: Struct(Point)),
    "json-lines": partial(frame, lambda: JsonLines(limit=128)),
    "chiller-frames": partial(frame, lambda: Frames(b"#")),
    "chiller-reply": partial(every, [chiller_reply, parse_call]),
    "chiller-text": partial(text, parse_text),
    "tecoroute-responses": partial(frame, ResponseReader),
    "tecoroute-requests": partial(frame, RequestReader),
    "epsnet": partial(every, [Datagram.decode, Frame.decode, tecoroute.decode, message_id, acknowledgement]),
    "smartbus-packets": partial(frame, lambda: PacketFraming(512)),
    "smartbus-messages": partial(
        every,
        [
            kind.parse
            for kind in (Register, RegisterAck, Heartbeat, GlobalConnect, InvokeFlow, FlowAck, FlowReturn, Notify)
        ],
    ),
    "smartbus-values": partial(text, load_values),
    "m2-lines": partial(frame, M2Lines),
    "m2-messages": partial(every, [m2_message]),
    "urls": partial(text, url),
    "faults": partial(text, parse_fault),
    "captures": partial(every, [lambda data: list(read_capture(io.BytesIO(data)))]),
}
"""By name."""
