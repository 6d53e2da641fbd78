"""The logic of the service: accounts, the login steps and the answers of PLCs.

The rules are those that the published package ``tecoroute`` 0.1.0 relies on. The codes of refusals, the text of a
success and the answer to a request out of order are not known, so they are invented; all texts can be set.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cnx.clients.tecoroute.protocol.epsnet import acknowledgement
from cnx.clients.tecoroute.protocol.http import Request, Response
from cnx.clients.tecoroute.protocol.session import decode, encode, password_proof
from cnx.errors import ProtocolError

__all__ = ["MODELS", "Accounts", "Model", "Service", "Texts"]

Model = Callable[[bytes], "bytes | None"]
"""A PLC: returns the answer to a datagram, or ``None`` for no answer."""


def echo(datagram: bytes) -> bytes | None:
    """Answer with the same datagram."""
    return datagram


def acknowledge(datagram: bytes) -> bytes | None:
    """Answer with the short acknowledgement of EPSNET; do not answer what is not EPSNET."""
    try:
        return acknowledgement(datagram)
    except ProtocolError:
        return None


def silent(datagram: bytes) -> bytes | None:
    """Do not answer, like a PLC that is switched off."""
    return None


MODELS: dict[str, Model] = {"echo": echo, "acknowledge": acknowledge, "silent": silent}
"""Simple PLCs by name."""


@dataclass(frozen=True)
class Texts:
    """The texts of the service; all of them are invented."""

    welcome: str = "OK\r\n"
    unknown_user: str = "ERR_USER\r\n"
    wrong_password: str = "ERR_PASSWORD\r\n"
    unknown_application: str = "ERR_APPLICATION\r\n"
    unknown_plc: str = "ERR_PLC\r\n"
    out_of_order: str = "ERR_ORDER\r\n"


@dataclass(frozen=True)
class Accounts:
    """Users, PLCs, applications and rights.

    Attributes:
        users: passwords by user name.
        plcs: models by name of the PLC.
        rights: names of the PLCs that a user may use, by user name; a user without an entry may use all of them.
        applications: names of the known applications.
    """

    users: Mapping[str, str] = field(default_factory=lambda: {"BroukPytlik": "ferda1"})
    plcs: Mapping[str, Model] = field(default_factory=lambda: {"AB_1234": echo})
    rights: Mapping[str, frozenset[str]] = field(default_factory=dict)
    applications: frozenset[str] = frozenset({"Mosaic"})

    def plc_of(self, user: str, plc: str) -> Model | None:
        """Return the PLC if the user may use it."""
        return self.plcs.get(plc) if plc in self.rights.get(user, self.plcs) else None


class Service:
    """The state of one connection: how far its login has come.

    Args:
        accounts: users, PLCs, applications and rights.
        texts: the texts to answer with.
        salt: body of the first answer.
        keepalive: answer to a request without data; ``None`` for no answer.
    """

    def __init__(self, accounts: Accounts, texts: Texts, salt: str, keepalive: bytes | None) -> None:
        self._accounts = accounts
        self._texts = texts
        self._salt = salt
        self._keepalive = keepalive
        self._user: str | None = None
        self._application = ""
        self._plc: Model | None = None
        self._steps: dict[tuple[str, str], Callable[[Request], Response | None]] = {
            ("GET", "/INDEX.XML"): self._index,
            ("PUT", "/IAM.TXT"): self._admit,
            ("PUT", "/PLC.TXT"): self._choose,
            ("GET", "/DATA.BIN"): self._exchange,
        }
        self._expected = ["/INDEX.XML", "/IAM.TXT", "/PLC.TXT"]

    def answer(self, request: Request) -> Response | None:
        """Return the answer to a request, ``None`` for no answer."""
        step = self._steps.get((request.method, request.path))
        if step is None:
            return Response(404, b"")
        if request.path != (self._expected or ["/DATA.BIN"])[0]:
            return Response(403, self._texts.out_of_order.encode())
        return step(request)

    def _index(self, request: Request) -> Response:
        self._user = reveal(request.fields.get("n-user", ""))
        self._application = request.fields.get("x-aplic", "").removesuffix(" tecoroute")
        self._expected.pop(0)
        return Response(200, self._salt.encode())

    def _admit(self, request: Request) -> Response:
        texts, password = self._texts, self._accounts.users.get(self._user or "")
        if password is None:
            return Response(200, texts.unknown_user.encode())
        if not hmac.compare_digest(request.body.rstrip(), password_proof(self._salt, password)):
            return Response(200, texts.wrong_password.encode())
        if self._application not in self._accounts.applications:
            return Response(200, texts.unknown_application.encode())
        self._expected.pop(0)
        return Response(200, texts.welcome.encode())

    def _choose(self, request: Request) -> Response:
        self._plc = self._accounts.plc_of(self._user or "", reveal(request.body.decode("latin-1").rstrip()) or "")
        if self._plc is None:
            return Response(200, self._texts.unknown_plc.encode())
        self._expected.pop(0)
        return Response(200, request.body)

    def _exchange(self, request: Request) -> Response | None:
        if not request.body:
            return None if self._keepalive is None else Response(200, self._keepalive)
        assert self._plc is not None
        answer = self._plc(decode(request.body))
        return None if answer is None else Response(200, encode(answer))


def reveal(secret: str) -> str | None:
    """Return the name that was obfuscated as ``secret``, or ``None`` if it is not valid."""
    try:
        return decode(bytes.fromhex(secret))[1:].decode()
    except ValueError:
        return None
