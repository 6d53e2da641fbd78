"""Connecting: the login, what the service may refuse, and what can go wrong on the way."""

from __future__ import annotations

import logging
import pickle
import socket
from typing import Any

import pytest

import cnx
from cnx.clients.tecoroute import (
    OPENINGS,
    Connector,
    ConnectorConnectionError,
    ConnectorError,
    ConnectorLatencyError,
    ConnectorNotConnected,
    ConnectorPlcError,
    ConnectorResponseError,
    ConnectorUserError,
    TecorouteSimulator,
)
from cnx.clients.tecoroute.protocol import session as protocol
from cnx.clients.tecoroute.simulator.service import Texts
from cnx.testing import NewThreads
from tests.helpers.tecoroute_service import AT_ONCE, PATIENCE, Caller, connected, connector_to, wait_for_data

STEPS = ["/INDEX.XML", "/IAM.TXT", "/PLC.TXT"]


def test_logs_in_and_exchanges() -> None:
    """A connector is logged in when it is connected, and the PLC answers."""
    with connected(TecorouteSimulator()) as connector:
        assert connector.request(b"hello0", timeout=PATIENCE) == b"hello0"


def test_requests_of_the_login() -> None:
    """The service sees the four requests with the fields that it needs."""
    simulator = TecorouteSimulator()
    with connected(simulator) as connector:
        connector.send(b"hello0")
        assert wait_for_data(simulator, 1) == [b"hello0"]
    index, user, plc, data = simulator.record.snapshot()
    assert [index.path, user.path, plc.path, data.path] == [*STEPS, "/DATA.BIN"]
    assert index.fields["x-aplic"] == "Mosaic tecoroute"
    assert protocol.decode(bytes.fromhex(index.fields["n-user"]))[1:] == b"BroukPytlik"
    assert data.fields["u-tcm"] == "U-TCM"


def test_every_request_is_one_segment() -> None:
    """Head and body go out in one write, so that a service that reads once gets the whole request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        caller = Caller(run_session, host, port)
        peer, _ = server.accept()
        with peer:
            peer.settimeout(PATIENCE)
            index = peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12345678")
            assert index.startswith(b"GET /INDEX.XML HTTP/1.1\r\nHost: NT_Host\r\nUser-Agent: tecoroute/0.1.0 (+")
            assert peer.recv(65536) == protocol.user_request(protocol.password_proof("12345678", "ferda1"))
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            head, _, body = peer.recv(65536).partition(b"\r\n\r\n")
            assert protocol.plc_request(body.rstrip()) == head + b"\r\n\r\n" + body
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n" + body)
            assert peer.recv(65536) == protocol.data_request(b"hello0")
            assert peer.recv(65536) == b""
        caller.outcome()


def run_session(host: str, port: int) -> None:
    """Log in, send one message and close."""
    with Connector("BroukPytlik", "ferda1", "AB_1234", "Mosaic", host, port, pace=AT_ONCE) as connector:
        connector.send(b"hello0")


def test_over_ipv6() -> None:
    """The service may have an IPv6 address."""
    simulator = TecorouteSimulator()
    try:
        simulator.listen_tcp("::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with connected(simulator) as connector:
        assert connector.address.startswith("[::1]:")
        assert connector.request(b"hello0", timeout=PATIENCE) == b"hello0"


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ({"username": "nobody"}, ConnectorUserError, "ERR_USER"),
        ({"password": "secret-word"}, ConnectorUserError, "ERR_PASSWORD"),
        ({"application": "Tetris"}, ConnectorUserError, "ERR_APPLICATION"),
        ({"plc": "XY_0000"}, ConnectorPlcError, "ERR_PLC"),
    ],
)
def test_refusals(options: dict[str, str], kind: type[ConnectorUserError], code: str) -> None:
    """Whoever is refused hears why, and that trying again is pointless for a while."""
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator, **options)
        with pytest.raises(kind) as caught:
            connector.connect()
        assert caught.value.error_code == code
        assert isinstance(caught.value, cnx.AccessDenied)
        assert (caught.value.fatal, caught.value.retry_after) == (True, 600.0)


def test_password_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the representation, nor errors, nor log lines of any level have the password."""
    caplog.set_level(logging.DEBUG)
    with TecorouteSimulator() as simulator:
        connector = connector_to(simulator, password="secret-word")
        with pytest.raises(ConnectorUserError) as caught:
            connector.connect()
        shown = [repr(connector), str(connector), str(caught.value), repr(caught.value), caplog.text]
        shown.append(repr(connector._credentials))
    assert [text for text in shown if "secret-word" in text] == []


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", ["close", "reset", "not-http", "close-in-body", "no-length", "gzip", "unavailable"])
def test_trouble_in_a_login_step(step: str, fault: str) -> None:
    """Whatever goes wrong in a step of the login is an error of the connection that names the step."""
    with TecorouteSimulator(faults={step: fault}) as simulator:
        with pytest.raises(ConnectorConnectionError, match=step[1:]) as caught:
            connector_to(simulator).connect()
        assert not caught.value.fatal


@pytest.mark.parametrize("step", STEPS)
def test_silent_login_step(step: str) -> None:
    """A service that accepts and says nothing does not hold up the attempt for ever."""
    simulator = TecorouteSimulator(faults={step: "none"})
    with simulator, pytest.raises(ConnectorConnectionError, match=step[1:]):
        connector_to(simulator).connect(timeout=0.2)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_has_its_time(step: str) -> None:
    """Without a limit for the whole attempt, a step that is not answered still ends it."""
    simulator = TecorouteSimulator(faults={step: "none"})
    with simulator, pytest.raises(ConnectorConnectionError, match=step[1:]):
        connector_to(simulator, step_timeout=0.1, connect_timeout=None).connect()


def test_proofs_are_not_in_the_history() -> None:
    """What proves the password is not shown, as passwords could be tried out against it."""
    simulator = TecorouteSimulator()
    with connected(simulator) as connector:
        connector.disconnect()
        connector.connect()
        proofs = [request.body.decode().strip() for request in simulator.record.snapshot("/IAM.TXT")]
        shown = str(connector.history())
    assert len(proofs) == 2
    assert "IAM.TXT" in shown
    assert [proof for proof in proofs if proof in shown] == []


@pytest.mark.parametrize("fault", ["chunked-by-one", "continue-first", "line-feeds", "byte-by-byte", "version-1.0"])
def test_login_in_unusual_form(fault: str) -> None:
    """Answers of the login may come in any form that HTTP has."""
    faults: dict[str | int, str] = dict.fromkeys(STEPS, fault)
    with connected(TecorouteSimulator(faults=faults)) as connector:
        assert connector.connected


@pytest.mark.parametrize("salt", ["67022671", "12345678<xml>tail</xml>", "abc", "", "žluťoučký"])
def test_salts(salt: str) -> None:
    """Eight characters of the first answer go into the proof; there may be more or fewer of them."""
    with connected(TecorouteSimulator(salt=salt or "")) as connector:
        assert connector.connected


def test_unexpected_status_is_refused_unless_lenient() -> None:
    """A good text with a bad status is a success only for those who ask for the published package's rule."""
    simulator = TecorouteSimulator(faults={"/PLC.TXT": "error-with-data"})
    with simulator:
        with pytest.raises(ConnectorConnectionError, match=r"PLC.TXT.*500"):
            connector_to(simulator).connect()
        with connector_to(simulator, strict=False) as connector:
            assert connector.connected


@pytest.mark.parametrize("step", STEPS[:2])
def test_status_of_the_first_steps(step: str) -> None:
    """An error page in the first two steps is no salt and no welcome, unless leniently."""
    simulator = TecorouteSimulator(faults={step: "unauthorized"}, salt="who are you?")
    with simulator:
        with pytest.raises(ConnectorError, match=r"401|who are you"):
            connector_to(simulator).connect()
        with connector_to(simulator, strict=False) as connector:
            assert connector.connected


def test_any_text_without_underscore_welcomes() -> None:
    """The text of a success is not known, so it may be any; an underscore makes it a refusal."""
    with connected(TecorouteSimulator(texts=Texts(welcome="ERROR 42"))) as connector:
        assert connector.connected
    simulator = TecorouteSimulator(texts=Texts(welcome="ALL_FINE"))
    with simulator, pytest.raises(ConnectorUserError, match="ALL_FINE"):
        connector_to(simulator).connect()


def test_nobody_listens() -> None:
    """A refused TCP connection is a ConnectorError, too, and an ordinary ConnectionError."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    connector = Connector("u", "p", "plc", "Mosaic", host, port)
    with pytest.raises(ConnectorConnectionError, match=str(port)) as caught:
        connector.connect()
    assert isinstance(caught.value, ConnectionError)


def test_not_connected() -> None:
    """Nothing can be sent or received before connecting."""
    connector = Connector("u", "p", "x", "Mosaic", "127.0.0.1", 9)
    for call in (lambda: connector.send(b"x"), lambda: connector.receive(0), lambda: connector.request(b"x", 0)):
        with pytest.raises(ConnectorNotConnected, match="not connected") as caught:
            call()
        assert isinstance(caught.value, cnx.NotConnected)
    assert connector.http_time is None
    assert not connector.is_running


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"username": ""}, ValueError),
        ({"username": None}, TypeError),
        ({"password": b"x"}, TypeError),
        ({"password": "\ud800"}, ValueError),
        ({"plc": "x" * 256}, ValueError),
        ({"application": "a\r\nb: c"}, ValueError),
        ({"application": "Žába"}, ValueError),
        ({"tecoroute_host": "not a host"}, ValueError),
        ({"tecoroute_port": 70000}, ValueError),
        ({"latency_threshold": 0}, ValueError),
        ({"latency_threshold": float("nan")}, ValueError),
        ({"latency_count": 0}, ValueError),
        ({"latency_count": 1.5}, ValueError),
        ({"max_outstanding": 0}, ValueError),
        ({"keepalive_interval": -1.0}, ValueError),
        ({"silence_limit": 0}, ValueError),
        ({"latency_threshold": "1"}, TypeError),
        ({"connect_timeout": -1}, ValueError),
        ({"step_timeout": -1}, ValueError),
    ],
    ids=str,
)
def test_bad_arguments(options: dict[str, Any], error: type[Exception]) -> None:
    """What cannot be is refused by the constructor, and a password is not shown even then."""
    settings: dict[str, Any] = {"username": "u", "password": "p", "plc": "x", **options}
    with pytest.raises(error):
        Connector(**settings)


def test_arguments_of_the_published_package() -> None:
    """The arguments have the order and the defaults of the published package."""
    connector = Connector("u", "p", "x", "Other", "localhost", 61683, 0.5, 3, "pump")
    assert (connector.name, connector.address) == ("pump", "localhost:61683")
    assert Connector("u", "p", "x").address == "route.tecomat.com:61682"
    assert Connector("u", "p", "x").name == "x at route.tecomat.com:61682"


def test_one_opening_per_second_is_the_rule() -> None:
    """All connectors of a process share the turns, one per second, unless they are given others."""
    assert OPENINGS.interval == 1.0
    assert Connector("u", "p", "x")._pace is OPENINGS


@pytest.mark.parametrize(
    "error",
    [
        ConnectorUserError("no", "CODE"),
        ConnectorPlcError("no", "CODE"),
        ConnectorResponseError("no", 503),
        ConnectorLatencyError("slow"),
        ConnectorConnectionError("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_are_of_the_family_and_can_be_pickled(error: ConnectorError) -> None:
    """Every error is a ConnectorError and a CnxError, and survives a trip to another process."""
    assert isinstance(error, ConnectorError)
    assert isinstance(error, cnx.CnxError)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_threads_have_names(new_threads: NewThreads) -> None:
    """The thread of a connector is named after it."""
    with connected(TecorouteSimulator(), name="pump"):
        assert "cnx listener pump" in [thread.name for thread in new_threads()]
