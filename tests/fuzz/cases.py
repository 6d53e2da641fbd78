"""Bytes to begin with, and bytes that were found to break something once."""

from __future__ import annotations

import io

from cnx.clients.chiller.protocol.frames import format_full_command, format_reply, parse_text
from cnx.clients.smartbus.protocol.flows import InvokeFlow
from cnx.clients.smartbus.protocol.messages import Register, RegisterAck
from cnx.clients.smartbus.protocol.packets import Address, PacketFraming
from cnx.clients.tecoroute.protocol.epsnet import Datagram, Frame
from cnx.clients.tecoroute.protocol.session import data_request
from cnx.recording.pcapng import CaptureWriter
from cnx.recording.recorder import Record

__all__ = ["FOUND", "SEEDS"]

_CAPTURE = io.BytesIO()
_WRITER = CaptureWriter(_CAPTURE)
for _record in (Record(1.0, "*", text="connected"), Record(2.0, ">", b"ask", 3), Record(3.0, "<", b"answer", 6)):
    _WRITER.write(_record)

_US, _SERVER = Address(19, 5, 9), Address(3, 0, 1)
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

SEEDS: dict[str, list[bytes]] = {
    "delimited": [b"\x01one\r\ntwo\r\n"],
    "delimited-keep": [b"\x01oneabtwoab"],
    "length-prefixed": [b"\x01\x03abc\x00\x01x"],
    "length-prefixed-4": [b"\x02\x07\x00\x00\x00abc"],
    "json-lines": [b'\x05{"a": [1, 2.5e3, null, "\\u00e9"]}\n[]\n'],
    "chiller-frames": [b"\x03" + format_reply(parse_text("01WatchDog")) * 2],
    "chiller-reply": [format_reply(parse_text("01WatchDog"), data="1010"), format_full_command("17sCtrlT__+0200")],
    "chiller-text": [b"01WatchDog", b"17sCtrlT__+0200"],
    "tecoroute-responses": [b"\x07" + _RESPONSE * 2, b"\x07" + _CHUNKED],
    "tecoroute-requests": [b"\x07" + data_request(b"abc") * 2],
    "smartbus-packets": [b"\x07" + PacketFraming().encode(RegisterAck(0).packet(_SERVER, _US)) * 2],
    "smartbus-messages": [
        Register(0, "user", "password", "info").payload(),
        RegisterAck(0).payload(),
        InvokeFlow("project", "flow", 1, "[1]", 0).payload(),
    ],
    "smartbus-values": [b'[1, "two", null]'],
    "m2-lines": [b'\x09{"id": "ack", "sequence_id": 1}\r\n{"id": "position", "x": 1.5}\r\n'],
    "m2-messages": [b'{"id": "ack", "sequence_id": 1}', b'{"id": "cmd_power", "status": true}'],
    "urls": [
        *(b"tcp://host:1?nodelay=no&keepalive=1,2,3", b"udp://[::1]:5", b"unix:///a/b?terminator=crlf"),
        b"serial:///dev/ttyUSB0?baudrate=9600&parity=E&stopbits=1.5",
    ],
    "epsnet": [Datagram(b"\x02\x01", Frame(0x63, b"abc").encode()).encode(), Frame(0x63, b"abc").encode()],
    "captures": [_CAPTURE.getvalue()],
    "faults": [b"delay=0.1,jitter=0.2", b"truncate=5,direction=both", b"half_open=3"],
}
"""Valid examples."""

FOUND: dict[str, list[bytes]] = {}
"""What once broke something."""
