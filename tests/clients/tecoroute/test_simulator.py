"""The simulated service, as a client with a bare socket sees it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from time import monotonic
from urllib.parse import urlsplit

import pytest

from cnx.buffer import ReceiveBuffer
from cnx.clients.tecoroute.protocol import session as protocol
from cnx.clients.tecoroute.protocol.epsnet import set_clock
from cnx.clients.tecoroute.protocol.http import Response, ResponseReader
from cnx.clients.tecoroute.simulator import TecorouteSimulator
from cnx.clients.tecoroute.simulator.faults import FAULTS
from cnx.clients.tecoroute.simulator.service import MODELS, Accounts, Texts

DEADLINE = 10.0


class Client:
    """A client made of a bare socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = ReceiveBuffer()

    def send(self, *requests: bytes) -> None:
        """Send requests in one piece."""
        self._socket.sendall(b"".join(requests))

    def receive(self) -> Response | None:
        """Return the next answer, ``None`` at the end."""
        while (response := ResponseReader().take(self._buffer)) is None:
            data = self._socket.recv(65536)
            if not data:
                return None
            self._buffer.append(data)
        return response

    def receive_bytes(self) -> bytes:
        """Return everything up to the end."""
        data = b""
        while chunk := self._socket.recv(65536):
            data += chunk
        return data

    def end(self) -> None:
        """Send no more."""
        self._socket.shutdown(socket.SHUT_WR)

    def ask(self, request: bytes) -> str:
        """Return the text of the answer to a request."""
        self.send(request)
        response = self.receive()
        assert response is not None
        return response.body.decode()

    def introduce(self, user: str = "BroukPytlik", password: str = "ferda1", application: str = "Mosaic") -> str:
        """Take the first two steps; return the service's text."""
        salt = self.ask(protocol.index_request(application, protocol.secret(user, 7)))
        return self.ask(protocol.user_request(protocol.password_proof(salt, password)))

    def choose(self, plc: str = "AB_1234") -> bool:
        """Take the third step; return whether the service agreed."""
        secret = protocol.secret(plc, 200)
        return self.ask(protocol.plc_request(secret)) == secret.decode() + "\r\n"

    def exchange(self, datagram: bytes) -> bytes:
        """Return the PLC's answer."""
        self.send(protocol.data_request(datagram))
        response = self.receive()
        assert response is not None
        return protocol.decode(response.body)


@contextmanager
def client_of(simulator: TecorouteSimulator, *, logged_in: bool = False) -> Iterator[Client]:
    """Connect to a simulator, which is started and stopped."""
    with simulator:
        parts = urlsplit(simulator.urls[0] if simulator.urls else simulator.listen_tcp())
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), DEADLINE) as sock:
            client = Client(sock)
            if logged_in:
                assert client.introduce() == "OK\r\n"
                assert client.choose()
            yield client


def test_login_and_echo() -> None:
    """The four kinds of requests, in their order, lead to a PLC that echoes."""
    with client_of(TecorouteSimulator()) as client:
        assert client.introduce() == "OK\r\n"
        assert client.choose()
        assert client.exchange(b"hello0") == b"hello0"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"user": "nobody"}, "ERR_USER\r\n"),
        ({"password": "wrong"}, "ERR_PASSWORD\r\n"),
        ({"application": "Tetris"}, "ERR_APPLICATION\r\n"),
    ],
)
def test_refused_users(arguments: dict[str, str], text: str) -> None:
    """A user, password or application that is wrong is refused, and may be tried again only from the start."""
    with client_of(TecorouteSimulator()) as client:
        assert client.introduce(**arguments) == text
        assert not client.choose()


def test_rights_of_users() -> None:
    """Each user reaches the PLCs that are his, and no others."""
    accounts = Accounts(
        users={"anna": "a", "boris": "b"},
        plcs={"one": MODELS["echo"], "two": MODELS["acknowledge"]},
        rights={"boris": frozenset({"two"})},
    )
    simulator = TecorouteSimulator(accounts)
    with client_of(simulator) as anna, client_of(TecorouteSimulator(accounts)) as boris:
        assert anna.introduce("anna", "a") == "OK\r\n"
        assert not anna.choose("three")
        assert anna.choose("one")
        assert boris.introduce("boris", "b") == "OK\r\n"
        assert not boris.choose("one")
        assert boris.choose("two")


def test_texts_can_be_set() -> None:
    """What the service says is not known, so it can be set."""
    simulator = TecorouteSimulator(texts=Texts(welcome="", unknown_plc="NO_SUCH_PLC"), salt="67022671")
    with client_of(simulator) as client:
        assert client.introduce() == ""
        assert client.ask(protocol.plc_request(protocol.secret("x", 0))) == "NO_SUCH_PLC"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (protocol.user_request(b"AB" * 20), 403),
        (protocol.plc_request(b"00AB"), 403),
        (protocol.data_request(b"x"), 403),
        (b"GET /OTHER.TXT HTTP/1.1\r\n\r\n", 404),
    ],
)
def test_requests_out_of_order(request_: bytes, status: int) -> None:
    """Nothing but the first step is possible at first."""
    with client_of(TecorouteSimulator()) as client:
        client.send(request_)
        response = client.receive()
        assert response is not None
        assert response.status == status


@pytest.mark.parametrize("data", [b"hello\r\n\r\n", b"x" * 9000])
def test_clients_that_do_not_speak_http(data: bytes) -> None:
    """Garbage is answered with an error and the end of the connection."""
    with client_of(TecorouteSimulator()) as client:
        client.send(data)
        response = client.receive()
        assert response is not None
        assert response.status == 400
        assert client.receive() is None


def test_models() -> None:
    """An acknowledging PLC answers EPSNET only; a silent one answers nothing."""
    request = set_clock(datetime(2026, 1, 1))
    assert MODELS["acknowledge"](request) == bytes.fromhex("020102000001e500")
    assert MODELS["acknowledge"](b"hello0") is None
    assert MODELS["silent"](request) is None


@pytest.mark.parametrize(("keepalive", "bodies"), [("none", []), ("empty", [b""]), ("byte", [b"\x00"])])
def test_keepalive_answers(keepalive: str, bodies: list[bytes]) -> None:
    """All three answers to a keepalive are offered; data are answered all the same."""
    with client_of(TecorouteSimulator(keepalive=keepalive), logged_in=True) as client:
        client.send(protocol.data_request(b""), protocol.data_request(b"end"))
        client.end()
        got = []
        while (response := client.receive()) is not None:
            got.append(protocol.decode(response.body))
        assert got == [*bodies, b"end"]


@pytest.mark.parametrize(("pipelined", "least"), [(True, 0.05), (False, 0.2)])
def test_delay(pipelined: bool, least: float) -> None:
    """Requests are worked on side by side, or one after the other."""
    simulator = TecorouteSimulator(delay=0.05, pipelined=pipelined)
    with client_of(simulator, logged_in=True) as client:
        start = monotonic()
        client.send(*[protocol.data_request(bytes((number,))) for number in range(4)])
        answers = [client.receive() for _ in range(4)]
        assert [answer and answer.body for answer in answers] == [b"\x00", b"\x01", b"\x02", b"\x03"]
        assert monotonic() - start >= least


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_come_where_they_were_asked_for(fault: str) -> None:
    """A fault spoils the second of two answers, and leaves the first alone."""
    with client_of(TecorouteSimulator(faults={2: fault}), logged_in=True) as client:
        assert client.exchange(b"first") == b"first"
        client.send(protocol.data_request(b"second"))
        try:
            client.end()
            got = client.receive_bytes()
        except OSError:  # reset, maybe so soon that nothing can be ended any more
            got = b""
        assert got == FAULTS[fault](protocol.encode(b"second")).data


def test_fault_of_a_login_step() -> None:
    """A login step can be spoiled, too."""
    with client_of(TecorouteSimulator(faults={"/INDEX.XML": "unavailable"})) as client:
        client.send(protocol.index_request("Mosaic", b"00"))
        response = client.receive()
        assert response is not None
        assert response.status == 503


def test_record_of_requests() -> None:
    """What came is remembered, and can be waited for."""
    simulator = TecorouteSimulator()
    with client_of(simulator, logged_in=True) as client:
        client.send(protocol.data_request(b""))
        assert simulator.record.wait_for(lambda requests: len(requests) == 4, DEADLINE)
        assert [request.body for request in simulator.record.snapshot("/DATA.BIN")] == [b""]


@pytest.mark.parametrize(
    "arguments",
    [{"keepalive": "maybe"}, {"delay": -1.0}, {"delay": float("nan")}, {"faults": {1: "x"}}],
    ids=str,
)
def test_bad_arguments(arguments: dict[str, object]) -> None:
    """Options that mean nothing are refused at once."""
    with pytest.raises(ValueError, match=r"keepalive|delay|faults"):
        TecorouteSimulator(**arguments)  # type: ignore[arg-type]
