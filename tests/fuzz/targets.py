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
from cnx.capture import read_capture
from cnx.clients.chiller.protocol import Frames, parse_call, parse_reply, parse_text
from cnx.clients.m2.protocol import BrokenMessage, Kind, M2Lines, kind_of
from cnx.clients.m2.protocol import parse_reply as parse_m2_reply
from cnx.clients.smartbus.protocol import PacketFraming
from cnx.clients.smartbus.protocol_flows import FlowAck, FlowReturn, InvokeFlow, Notify, load_values
from cnx.clients.smartbus.protocol_messages import GlobalConnect, Heartbeat, Register, RegisterAck
from cnx.clients.tecoroute import protocol as tecoroute
from cnx.clients.tecoroute.protocol_epsnet import Datagram, Frame, acknowledgement, message_id
from cnx.clients.tecoroute.protocol_http import RequestReader, ResponseReader
from cnx.faults import parse as parse_fault

__all__ = ["TARGETS"]

Target = Callable[[bytes], None]

CUT_BYTES = 2


class Point(ctypes.BigEndianStructure):
    """Something to read."""

    _pack_ = 1
    _fields_ = (("x", ctypes.c_uint8), ("y", ctypes.c_uint16))

    def __repr__(self) -> str:
        return f"{self.x},{self.y}"


def outcome(framing: Framing, pieces: Iterable[bytes], take: Callable[[ReceiveBuffer], list[Any]]) -> tuple[str, str]:
    """Return what a framing makes of pieces: the messages, and the kind of error that it stopped with."""
    buffer, messages = ReceiveBuffer(), []
    try:
        for piece in pieces:
            buffer.append(piece)
            while found := take(buffer):
                messages += found
    except (ProtocolError, LimitExceeded, EncodingError) as error:
        return repr(messages), type(error).__name__
    return repr(messages), ""


def frame(make: Callable[[], Framing], data: bytes) -> None:
    """However bytes are cut, and whichever way messages are taken, they are the same messages."""
    size = 1 + int.from_bytes(data[:CUT_BYTES], "big")
    data = data[CUT_BYTES:]
    framing = make()

    def take_one(buffer: ReceiveBuffer) -> list[Any]:
        message = framing.take(buffer)
        return [] if message is None else [message]

    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    whole = outcome(framing, [data], take_one)
    for taken in (outcome(framing, pieces, take_one), outcome(framing, [data], framing.take_all)):
        assert taken == whole, f"{framing!r}: {data!r} in pieces of {size}: {taken} instead of {whole}"


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
        connection(data)


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
