"""Faulty answers of the service: the bytes that a client gets, and what follows them."""

from __future__ import annotations

import enum
import gzip
from collections.abc import Callable
from dataclasses import dataclass

from cnx.clients.tecoroute.protocol.http import Response

__all__ = ["FAULTS", "Reply", "Then"]


class Then(enum.Enum):
    """What the service does after a reply."""

    GO_ON = "go on"
    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True)
class Reply:
    """Bytes for the client, sent in one piece or byte by byte, and what follows."""

    data: bytes
    then: Then = Then.GO_ON
    split: bool = False


def whole(body: bytes) -> bytes:
    """Return the correct answer."""
    return Response(200, body).encode()


def answer(*fields: str, version: str = "1.1", status: str = "200 OK") -> bytes:
    """Return the head of an answer."""
    return "".join(f"{line}\r\n" for line in (f"HTTP/{version} {status}", *fields, "")).encode()


def sized(body: bytes, *fields: str, status: str = "200 OK", version: str = "1.1") -> bytes:
    """Return an answer with a length."""
    return answer(f"Content-Length: {len(body)}", *fields, status=status, version=version) + body


def chunked(body: bytes, size: int) -> bytes:
    """Return an answer in chunks of ``size`` bytes."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return answer("Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"


FAULTS: dict[str, Callable[[bytes], Reply]] = {
    "empty": lambda body: Reply(whole(b"")),
    "status-204": lambda body: Reply(answer(status="204 No Content")),
    "status-304": lambda body: Reply(answer(status="304 Not Modified")),
    "redirect": lambda body: Reply(sized(b"", "Location: /", status="302 Found")),
    "unavailable": lambda body: Reply(sized(b"the service is busy", status="503 Service Unavailable")),
    "unauthorized": lambda body: Reply(sized(b"who are you?", status="401 Unauthorized")),
    "error-with-data": lambda body: Reply(sized(body, status="500 Internal Server Error")),
    "chunked": lambda body: Reply(chunked(body, 16)),
    "chunked-by-one": lambda body: Reply(chunked(body, 1)),
    "gzip": lambda body: Reply(sized(gzip.compress(body), "Content-Encoding: gzip")),
    "no-length": lambda body: Reply(answer("Server: x") + body),
    "no-length-then-close": lambda body: Reply(answer("Server: x") + body, Then.CLOSE),
    "no-field": lambda body: Reply(answer() + body),
    "version-1.0": lambda body: Reply(sized(body, version="1.0")),
    "says-close": lambda body: Reply(sized(body, "Connection: close")),
    "closes": lambda body: Reply(sized(body, "Connection: close"), Then.CLOSE),
    "close-in-head": lambda body: Reply(whole(body)[:20], Then.CLOSE),
    "close-in-body": lambda body: Reply(whole(body)[:-1], Then.CLOSE),
    "close-in-chunk": lambda body: Reply(chunked(body, len(body))[:-8], Then.CLOSE),
    "close": lambda body: Reply(b"", Then.CLOSE),
    "reset": lambda body: Reply(b"", Then.RESET),
    "cut-short": lambda body: Reply(whole(body)[:-1]),
    "byte-by-byte": lambda body: Reply(whole(body), split=True),
    "continue-first": lambda body: Reply(answer(status="100 Continue") + whole(body)),
    "length-and-chunked": lambda body: Reply(answer("Content-Length: 1", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "line-feeds": lambda body: Reply(b"HTTP/1.1 200 OK\nContent-Length: %d\n\n%b" % (len(body), body)),
    "twice": lambda body: Reply(whole(body) * 2),
    "none": lambda body: Reply(b""),
    "not-http": lambda body: Reply(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "one-byte": lambda body: Reply(whole(b"\x2a")),
}
"""Faulty answers by name; each function makes a reply from the body of the correct answer."""
