"""The client's side of a TecoRoute session: the obfuscation, the login and the requests, byte for byte.

One TCP connection serves one user and one PLC, with requests in this order: ``GET /INDEX.XML`` (user and
application), ``PUT /IAM.TXT`` (password proof), ``PUT /PLC.TXT`` (name of the PLC), and then any number of
``GET /DATA.BIN``, each with one datagram, or without data as a keepalive.

There is no public description of the service. The bytes and numbers here were observed by running the published
package ``tecoroute`` 0.1.0 (``connector.py`` and ``_http.py``; MIT licence, https://opensource.cze.tech/tecoroute)
against a recording server. The obfuscation has no key and is no protection: anyone who sees the traffic can read it.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from itertools import accumulate

from cnx.clients.tecoroute.protocol.http import Response
from cnx.errors import ProtocolError
from cnx.framing import shorten

__all__ = [
    "DATAGRAM_LIMIT",
    "checked_application",
    "checked_datagram",
    "checked_name",
    "checked_password",
    "data_request",
    "decode",
    "encode",
    "index_request",
    "password_proof",
    "plc_refusal",
    "plc_request",
    "secret",
    "text_of",
    "user_refusal",
    "user_request",
]

DATAGRAM_LIMIT = 65507
"""Size of the largest datagram in bytes: what fits one UDP packet over IPv4."""

NAME_LIMIT = 255
SALT_LENGTH = 8
USER_AGENT = b"User-Agent: tecoroute/0.1.0 (+https://opensource.cze.tech/tecoroute)\r\n"
INDEX = (
    b"GET /INDEX.XML HTTP/1.1\r\nHost: NT_Host\r\n"
    + USER_AGENT
    + b"x-aplic: %b tecoroute\r\ns-tcm: 1\r\nn-user: %b\r\n\r\n"
)
PUT = b"PUT %b HTTP/1.1\r\nHost: NT_Host\r\nContent-Length: %d\r\n" + USER_AGENT + b"\r\n%b"
DATA = b"GET /DATA.BIN HTTP/1.1\r\nHost: NT_Host\r\nContent-Length: %d\r\n" + USER_AGENT + b"u-tcm: U-TCM\r\n\r\n%b"

_INVERTED = bytes(range(255, -1, -1))
_LOW_BYTES = slice(0 if sys.byteorder == "little" else 7, None, 8)


def encode(data: bytes) -> bytes:
    """Return the running difference of ``data``: ``e[0] = d[0]``, ``e[i] = e[i-1] + 255 - d[i]`` modulo 256."""
    return array("Q", accumulate(data[:1] + data[1:].translate(_INVERTED))).tobytes()[_LOW_BYTES]


def decode(data: bytes) -> bytes:
    """Reverse :func:`encode`: ``d[0] = e[0]``, ``d[i] = e[i-1] + 255 - e[i]`` modulo 256."""
    size = len(data) - 1
    if size < 1:
        return data
    # Add all bytes at once, as two large numbers. Their top bits are added separately, so that nothing carries over.
    before = int.from_bytes(data[:-1], "little")
    after = int.from_bytes(data[1:].translate(_INVERTED), "little")
    low = int.from_bytes(b"\x7f" * size, "little")
    top = int.from_bytes(b"\x80" * size, "little")
    added = ((before & low) + (after & low)) ^ ((before ^ after) & top)
    return data[:1] + added.to_bytes(size, "little")


def secret(text: str, first: int) -> bytes:
    """Return a user or PLC name obfuscated for the login: ``2 * (1 + bytes of text)`` hexadecimal digits.

    Args:
        text: 1 to 255 bytes as UTF-8.
        first: a random byte, 0 to 255, so that a name looks different each time.
    """
    return encode(bytes((first,)) + checked_name(text, "a name").encode()).hex().upper().encode()


def password_proof(salt: str, password: str) -> bytes:
    """Return the 40 upper-case hexadecimal digits (SHA-1) that prove the password.

    Args:
        salt: body of the answer to INDEX.XML, of which the first 8 characters are used.
        password: in clear.
    """
    return hashlib.sha1((salt[:SALT_LENGTH] + password).encode(), usedforsecurity=False).hexdigest().upper().encode()


def index_request(application: str, user: bytes) -> bytes:
    """Return the first request; ``user`` is the secret of the user name."""
    return INDEX % (checked_application(application).encode("ascii"), user)


def user_request(proof: bytes) -> bytes:
    """Return the second request, with the password proof."""
    return PUT % (b"/IAM.TXT", len(proof) + 2, proof + b"\r\n")


def plc_request(plc: bytes) -> bytes:
    """Return the third request; ``plc`` is the secret of the PLC's name."""
    return PUT % (b"/PLC.TXT", len(plc) + 2, plc + b"\r\n")


def data_request(datagram: bytes) -> bytes:
    """Return the request that carries a datagram to the PLC; with an empty datagram it is a keepalive."""
    return DATA % (len(datagram), encode(datagram))


def user_refusal(response: Response, *, strict: bool = True) -> str | None:
    """Return the error code in the answer to IAM.TXT, or ``None`` if the user was accepted.

    As in the published package, an underscore anywhere in the text means a refusal. The text of a success is not known,
    so ``strict`` also requires the status 200.
    """
    text = text_of(response)
    if "_" not in text and (response.status == 200 or not strict):
        return None
    return text.rstrip() or f"HTTP status {response.status}"


def plc_refusal(response: Response, plc: bytes, *, strict: bool = True) -> str | None:
    """Return the error code in the answer to PLC.TXT, or ``None`` if it repeats the body that was sent."""
    if response.body == plc + b"\r\n" and (response.status == 200 or not strict):
        return None
    return text_of(response).rstrip() or f"HTTP status {response.status}"


def text_of(response: Response) -> str:
    """Return the body as text.

    Raises:
        ProtocolError: it is not UTF-8.
    """
    try:
        return response.body.decode()
    except UnicodeDecodeError:
        raise ProtocolError(f"the body of a login answer is not UTF-8 text: {shorten(response.body)}") from None


def checked_name(text: str, what: str) -> str:
    """Return ``text`` if it is valid as the name of a user or PLC; raises ValueError or TypeError."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {type(text).__name__}")
    if not 1 <= len(text.encode()) <= NAME_LIMIT:
        raise ValueError(f"{what} must have 1 to {NAME_LIMIT} bytes as UTF-8, not {len(text.encode())}")
    return text


def checked_password(password: str) -> str:
    """Return ``password`` if it is text; raises ValueError or TypeError, which do not show it."""
    if not isinstance(password, str):
        raise TypeError(f"a password must be a str, not {type(password).__name__}")
    if not can_be_encoded(password):
        raise ValueError("a password must be text that can be encoded as UTF-8")
    return password


def can_be_encoded(text: str) -> bool:
    """Return whether ``text`` can be encoded as UTF-8.

    This is a function because the exception holds the text, and would be the context of one raised where it is caught.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_application(application: str) -> str:
    """Return ``application`` if it fits into a header line: printable ASCII, without spaces at its ends."""
    checked_name(application, "an application name")
    if not application.isascii() or not application.isprintable() or application != application.strip():
        raise ValueError(f"an application name must be printable ASCII without spaces at its ends, not {application!r}")
    return application


def checked_datagram(datagram: bytes) -> bytes:
    """Return ``datagram`` as bytes if it fits one UDP packet."""
    if not isinstance(datagram, (bytes, bytearray, memoryview)):
        raise TypeError(f"a datagram must be bytes, not {type(datagram).__name__}")
    data = bytes(datagram)
    if len(data) > DATAGRAM_LIMIT:
        raise ValueError(f"a datagram must have at most {DATAGRAM_LIMIT} bytes, not {len(data)}")
    return data
