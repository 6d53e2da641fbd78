"""The three steps of the login."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from cnx.clients.tecoroute.client.errors import (
    ConnectorConnectionError,
    ConnectorPlcError,
    ConnectorUserError,
)
from cnx.clients.tecoroute.protocol import session as protocol
from cnx.clients.tecoroute.protocol.http import Response
from cnx.framing import shorten

__all__ = ["Credentials", "log_in"]


@dataclass(frozen=True)
class Credentials:
    """User, password, PLC and application; shown without the password.

    Raises:
        ValueError, TypeError: a value is invalid.
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
    """Log in, in three steps: application and user, password proof, PLC.

    Args:
        credentials: user, password, PLC and application.
        ask: sends the request of a step and returns the answer.
        strict: a step succeeds only with HTTP status 200; if false, the status does not matter.
        hide: called with the password proof before that is sent; it must not be shown.

    Raises:
        ConnectorUserError, ConnectorPlcError: the service refused.
        ConnectorConnectionError: the service is in trouble, or is not a TecoRoute service.
        ProtocolError: an answer is not text.
    """
    salt = ask("INDEX.XML", protocol.index_request(credentials.application, hidden(credentials.username)))
    if strict and salt.status != 200:
        raise ConnectorConnectionError(f"the service answered INDEX.XML with {shown(salt)}")
    proof = protocol.password_proof(protocol.text_of(salt), credentials.password)
    hide(proof)
    check_user(credentials, ask("IAM.TXT", protocol.user_request(proof)), strict=strict)
    plc = hidden(credentials.plc)
    check_plc(credentials, plc, ask("PLC.TXT", protocol.plc_request(plc)), strict=strict)


def check_user(credentials: Credentials, answer: Response, *, strict: bool) -> None:
    """Raise if the service did not accept the user."""
    refusal = protocol.user_refusal(answer, strict=strict)
    if refusal is None:
        return
    # An error page of the service is no refusal: all known refusals contain an underscore.
    if answer.status >= 500 and "_" not in refusal:
        raise ConnectorConnectionError(f"the service answered IAM.TXT with {shown(answer)}")
    raise ConnectorUserError(
        f"the service refused user {credentials.username!r} for application {credentials.application!r}: "
        f"{shorten(refusal)}; check user name, password and application",
        refusal,
    )


def check_plc(credentials: Credentials, plc: bytes, answer: Response, *, strict: bool) -> None:
    """Raise if the service did not accept the PLC."""
    refusal = protocol.plc_refusal(answer, plc, strict=strict)
    if refusal is None:
        return
    if strict and answer.status >= 500:
        raise ConnectorConnectionError(f"the service answered PLC.TXT with {shown(answer)}")
    raise ConnectorPlcError(
        f"the service refused PLC {credentials.plc!r} for user {credentials.username!r}: {shorten(refusal)}; "
        "check its name, that it is on line, and that the user may use it",
        refusal,
    )


def hidden(name: str) -> bytes:
    """Return a name obfuscated for the wire, different each time."""
    return protocol.secret(name, secrets.randbelow(256))


def shown(answer: Response) -> str:
    """Return an answer as text for an error message."""
    return f"HTTP status {answer.status}: {shorten(answer.body)}"
