"""The login: who talks to which PLC, for which application, and how the service takes it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from cnx.clients.tecoroute.client.errors import ConnectorConnectionError, ConnectorPlcError, ConnectorUserError
from cnx.clients.tecoroute.protocol import session as protocol
from cnx.clients.tecoroute.protocol.http import Response
from cnx.framing import shorten

__all__ = ["Credentials", "log_in"]


@dataclass(frozen=True)
class Credentials:
    """Who talks to which PLC; shown without the password.

    Raises:
        ValueError, TypeError: one of them cannot be.
    """

    username: str
    password: str = field(repr=False)
    plc: str
    application: str

    def __post_init__(self) -> None:
        protocol.checked_name(self.username, "a user name")
        protocol.checked_password(self.password)
        protocol.checked_name(self.plc, "the name of a PLC")
        protocol.checked_application(self.application)


def log_in(
    credentials: Credentials,
    ask: Callable[[str, bytes], Response],
    *,
    strict: bool,
    hide: Callable[[bytes], object] = lambda secret: None,
) -> None:
    """Take the three steps of the login.

    Args:
        credentials: who.
        ask: sends the request of a step and returns the answer.
        strict: only answers with HTTP status 200 are good; otherwise the status does not matter.
        hide: is told what must not be shown, before it is sent.

    Raises:
        ConnectorUserError, ConnectorPlcError: the service refused.
        ConnectorConnectionError: the service has trouble, or is no such service.
        ProtocolError: an answer is not text.
    """
    who = credentials
    salt = ask("INDEX.XML", protocol.index_request(who.application, hidden(who.username)))
    if strict and salt.status != 200:
        raise ConnectorConnectionError(f"the service answered INDEX.XML with {shown(salt)}")
    proof = protocol.password_proof(protocol.text_of(salt), who.password)
    hide(proof)
    prove(who, ask("IAM.TXT", protocol.user_request(proof)), strict=strict)
    plc = hidden(who.plc)
    choose(who, plc, ask("PLC.TXT", protocol.plc_request(plc)), strict=strict)


def prove(who: Credentials, answer: Response, *, strict: bool) -> None:
    """Raise if the service did not accept the user."""
    refusal = protocol.user_refusal(answer, strict=strict)
    if refusal is None:
        return
    if answer.status >= 500 and "_" not in refusal:
        raise ConnectorConnectionError(f"the service answered IAM.TXT with {shown(answer)}")
    raise ConnectorUserError(
        f"the service refused user {who.username!r} for application {who.application!r}: {shorten(refusal)}; "
        "check user name, password and application",
        refusal,
    )


def choose(who: Credentials, plc: bytes, answer: Response, *, strict: bool) -> None:
    """Raise if the service did not accept the PLC."""
    refusal = protocol.plc_refusal(answer, plc, strict=strict)
    if refusal is None:
        return
    if strict and answer.status >= 500:
        raise ConnectorConnectionError(f"the service answered PLC.TXT with {shown(answer)}")
    raise ConnectorPlcError(
        f"the service refused PLC {who.plc!r} for user {who.username!r}: {shorten(refusal)}; "
        "check its name, that it is on line, and that the user may use it",
        refusal,
    )


def hidden(name: str) -> bytes:
    """Return a name as it travels, different each time."""
    return protocol.secret(name, secrets.randbelow(256))


def shown(answer: Response) -> str:
    """Return an answer for a message."""
    return f"HTTP status {answer.status}: {shorten(answer.body)}"
