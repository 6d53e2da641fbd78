"""HTTP/1.1 messages, as far as a TecoRoute session uses them.

The readers are strict where an ambiguity could mix up messages (a length as well as chunks, two lengths, no length at
all) and lenient elsewhere (LF as line end, HTTP/1.0, no header fields, chunks of any size).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cnx.buffer import ReceiveBuffer
from cnx.errors import LimitExceeded, ProtocolError
from cnx.framing import Framing, shorten

__all__ = ["BODY_LIMIT", "HEAD_LIMIT", "Request", "RequestReader", "Response", "ResponseReader"]

HEAD_LIMIT = 8192
"""Size of the largest start line with its header fields, in bytes."""

BODY_LIMIT = 65536
"""Size of the largest body in bytes; the largest datagram fits."""

WIRE_LIMIT = HEAD_LIMIT + 2 * BODY_LIMIT
CHUNK_LINE_LIMIT = 256

START = b"HTTP/1."

STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r]*)?")
REQUEST_LINE = re.compile(r"([A-Z]+) (/[!-~]*) HTTP/1\.[01]")
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
LENGTH = re.compile(r"[0-9]{1,9}")
HEAD_END = re.compile(rb"\n\r?\n")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]{0,200})?\r?\n")
LAST_CHUNK = re.compile(rb"0{1,8}[ \t]*(?:;[^\n]{0,200})?\r?\n(?:[^\r\n][^\n]*\n)*\r?\n")
NEW_LINE = re.compile(rb"\r?\n")


@dataclass(frozen=True)
class Response:
    """An answer of the service.

    Attributes:
        status: the HTTP status.
        body: content.
        behind: up to seven bytes that had arrived after it when it was complete.
    """

    status: int
    body: bytes = b""
    behind: bytes = field(default=b"", compare=False, repr=False)

    @property
    def is_whole(self) -> bool:
        """Whether it does not contain the beginning of the next answer, as an answer does that was cut short."""
        if START.startswith(self.behind):
            return True
        taken = range(1, len(START))
        split = any(
            self.body.endswith(START[:n]) and self.behind.startswith(START[n:][: len(self.behind)]) for n in taken
        )
        return not split and START not in self.body

    def encode(self) -> bytes:
        """Return the bytes on the wire."""
        return b"HTTP/1.1 %d \r\nContent-Length: %d\r\n\r\n%b" % (self.status, len(self.body), self.body)


@dataclass(frozen=True)
class Request:
    """A request to the service; the names in ``fields`` are in lower case."""

    method: str
    path: str
    fields: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Head:
    """What precedes a body: the start line, the header fields by lower-case name, and the size of both in bytes."""

    start: str
    fields: dict[str, str]
    size: int

    @property
    def has_body(self) -> bool:
        """Whether the fields announce a body."""
        return "content-length" in self.fields or "transfer-encoding" in self.fields


class ResponseReader(Framing):
    """Splits a stream into answers of the service; interim answers (1xx) are skipped."""

    limit = WIRE_LIMIT

    def take(self, buffer: ReceiveBuffer) -> Response | None:
        """Remove and return the next answer, or return ``None`` while it is incomplete.

        Raises:
            ProtocolError: it is not HTTP, or does not say where it ends.
            LimitExceeded: its head or body is too large.
        """
        while (head := peek_head(buffer)) is not None:
            line = STATUS_LINE.fullmatch(head.start)
            if line is None:
                raise ProtocolError(f"not a status line of HTTP: {shorten(head.start)}")
            status = int(line[1])
            if status >= 200:
                return self._take(buffer, head, status)
            buffer.skip(head.size)
        return None

    def _take(self, buffer: ReceiveBuffer, head: Head, status: int) -> Response | None:
        if status in (204, 304):
            buffer.skip(head.size)
            return Response(status, b"", buffer.peek(len(START)))
        if not head.has_body:
            raise ProtocolError(f"an answer without a length, so its end cannot be found: {shorten(head.start)}")
        if head.fields.get("content-encoding", "identity") != "identity":
            raise ProtocolError(f"an answer in {head.fields['content-encoding']!r}, which was not asked for")
        body = take_body(buffer, head)
        return None if body is None else Response(status, body, buffer.peek(len(START)))


class RequestReader(Framing):
    """Splits a stream into requests of a client."""

    limit = WIRE_LIMIT

    def take(self, buffer: ReceiveBuffer) -> Request | None:
        """Remove and return the next request, or return ``None`` while it is incomplete.

        Raises:
            ProtocolError: it is not HTTP.
            LimitExceeded: its head or body is too large.
        """
        head = peek_head(buffer)
        if head is None:
            return None
        line = REQUEST_LINE.fullmatch(head.start)
        if line is None:
            raise ProtocolError(f"not a request line of HTTP: {shorten(head.start)}")
        body: bytes | None = b""
        if head.has_body:
            body = take_body(buffer, head)
        else:
            buffer.skip(head.size)
        return None if body is None else Request(line[1], line[2], head.fields, body)


def peek_head(buffer: ReceiveBuffer) -> Head | None:
    """Return the head at the start of ``buffer`` without taking it, or ``None`` while it is incomplete."""
    data = buffer.peek(HEAD_LIMIT)
    end = HEAD_END.search(data)
    if end is None:
        if len(data) == HEAD_LIMIT:
            raise LimitExceeded(f"a head over the limit of {HEAD_LIMIT} bytes: {shorten(data)}")
        return None
    start, *lines = data[: end.start()].decode("latin-1").split("\n")
    return Head(start.removesuffix("\r"), parse_fields(lines), end.end())


def parse_fields(lines: list[str]) -> dict[str, str]:
    """Return header fields by lower-case name; the values of repeated ones are joined by commas."""
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not NAME.fullmatch(name):
            raise ProtocolError(f"not a header field of HTTP: {shorten(line)}")
        name, value = name.lower(), value.strip()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def take_body(buffer: ReceiveBuffer, head: Head) -> bytes | None:
    """Remove a message with the given head and return its body; return ``None`` while it is incomplete."""
    length, coding = head.fields.get("content-length"), head.fields.get("transfer-encoding")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise ProtocolError(f"a body in {coding!r}, with length {length!r}: only chunks without a length are known")
        return take_chunks(buffer, head.size)
    if length is None or not LENGTH.fullmatch(length):
        raise ProtocolError(f"a Content-Length of {length!r}")
    size = checked_size(int(length))
    if len(buffer) < head.size + size:
        return None
    buffer.skip(head.size)
    return buffer.take(size)


def take_chunks(buffer: ReceiveBuffer, start: int) -> bytes | None:
    """Remove ``start`` bytes and the chunked body after them, and return it; return ``None`` while it is incomplete.

    Complete chunks are put back as one, so that many small ones are not parsed again whenever another one arrives.
    """
    data = buffer.peek(len(buffer))
    parts, end = parse_chunks(data, start)
    body = b"".join(parts)
    last = LAST_CHUNK.match(data, end)
    if last is not None:
        buffer.skip(last.end())
        return body
    if len(data) - end > HEAD_LIMIT + BODY_LIMIT:
        raise LimitExceeded(f"a trailer over the limit of {HEAD_LIMIT} bytes")
    if len(parts) > 1:
        buffer.skip(end)
        buffer.put_back(b"%b%x\r\n%b\r\n" % (data[:start], len(body), body))
    return None


def parse_chunks(data: bytes, end: int) -> tuple[list[bytes], int]:
    """Return the complete chunks from offset ``end`` on, and the offset of the last or incomplete one."""
    parts: list[bytes] = []
    total = 0
    while (line := _match_line(CHUNK_LINE, data, end, CHUNK_LINE_LIMIT)) is not None:
        size = int(line[1], 16)
        total = checked_size(total + size)
        after = _match_line(NEW_LINE, data, line.end() + size, 2) if size else None
        if after is None:
            break
        parts.append(data[line.end() : after.start()])
        end = after.end()
    return parts, end


def _match_line(pattern: re.Pattern[bytes], data: bytes, start: int, limit: int) -> re.Match[bytes] | None:
    """Return the match of a line of at most ``limit`` bytes, or ``None`` while it is incomplete."""
    found = pattern.match(data, start)
    line = data[start : start + limit]
    if found is None and (len(line) == limit or b"\n" in line):
        raise ProtocolError(f"not a chunk of HTTP: {shorten(line)}")
    return found


def checked_size(size: int) -> int:
    """Return ``size`` if a body may be that large; raises LimitExceeded."""
    if size > BODY_LIMIT:
        raise LimitExceeded(f"a body of {size} bytes or more is over the limit of {BODY_LIMIT}")
    return size
