"""The doctor lets a client log in, and tells what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cnx.cli.commands import cnx
from cnx.clients.smartbus import BusServer, SmartBusClient
from cnx.clients.tecoroute import Connector, Pace, TecorouteSimulator
from cnx.clients.tecoroute.simulator.service import MODELS, Accounts
from cnx.connections.urls import connection
from cnx.doctor import examine_client
from cnx.faults import accept_close, faults, half_open
from tests.helpers.dead_ports import closed_port
from tests.helpers.echo import Echo

SECRET = "heslo-4b1d"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return what keeps servers until the end of the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def bus(stack: ExitStack) -> str:
    """Return host and port of a SmartBus that knows one user."""
    return stack.enter_context(BusServer(users={"user": SECRET})).listen_tcp().removeprefix("tcp://")


@pytest.fixture
def service(stack: ExitStack) -> str:
    """Return host and port of a TecoRoute service that knows one user with one PLC."""
    accounts = Accounts({"user": SECRET}, {"AB_1234": MODELS["echo"]})
    return stack.enter_context(TecorouteSimulator(accounts)).listen_tcp().removeprefix("tcp://")


def run(folder: Path, url: str, password: str = SECRET, *options: str) -> tuple[Result, list[list[str]]]:
    """Run the command, and return its result and the words of the lines with findings."""
    file = folder / "password"
    file.write_text(password + "\n")
    result = CliRunner().invoke(cnx, ["doctor", url, "--password-file", str(file), *options])
    assert password not in result.output
    return result, [line.split() for line in result.output.splitlines() if not line.startswith(" ")]


def steps(lines: list[list[str]]) -> list[tuple[str, str]]:
    """Return the marks and steps of findings."""
    return [(line[0], line[1]) for line in lines]


def test_registered(bus: str, tmp_path: Path) -> None:
    """A SmartBus that lets us in."""
    result, lines = run(tmp_path, f"smartbus://user@{bus}/?unit=20")
    assert result.exit_code == 0, result.output
    assert steps(lines) == [("ok", "name"), ("ok", "address"), ("ok", "login")]
    assert float(lines[-1][2]) > 0


def test_logged_in(service: str, tmp_path: Path) -> None:
    """A TecoRoute service that lets us in."""
    result, lines = run(tmp_path, f"tecoroute://user@{service}/AB_1234")
    assert result.exit_code == 0, result.output
    assert steps(lines) == [("ok", "name"), ("ok", "address"), ("ok", "login")]


def test_wrong_password(bus: str, service: str, tmp_path: Path) -> None:
    """Both refuse a wrong one, and the verdict says that it is about that."""
    for url in (f"smartbus://user@{bus}/?unit=20", f"tecoroute://user@{service}/AB_1234"):
        result, lines = run(tmp_path, url, "wrong-1f3c")
        assert result.exit_code == 1
        assert steps(lines)[-1] == ("FAILED", "login")
        assert "check user, password and rights" in result.output


def test_unknown_plc(service: str, tmp_path: Path) -> None:
    """The user is right, and the PLC is not."""
    result, lines = run(tmp_path, f"tecoroute://user@{service}/CD_5678")
    assert (result.exit_code, steps(lines)[-1]) == (1, ("FAILED", "login"))
    assert "CD_5678" in result.output


def test_another_kind_of_server(stack: ExitStack, tmp_path: Path) -> None:
    """Something that listens and is no such server fails in the login, not before."""
    host = stack.enter_context(Echo()).listen_tcp().removeprefix("tcp://")
    for url in (f"smartbus://user@{host}/?unit=20", f"tecoroute://user@{host}/AB_1234"):
        result, lines = run(tmp_path, url, SECRET, "--timeout", "0.5")
        assert result.exit_code == 1
        assert steps(lines) == [("ok", "name"), ("ok", "address"), ("FAILED", "login")]


def test_nobody_there(tmp_path: Path) -> None:
    """Nothing is logged in where nothing listens."""
    result, lines = run(tmp_path, f"smartbus://user@127.0.0.1:{closed_port()}/?unit=20")
    assert (result.exit_code, steps(lines)) == (1, [("ok", "name"), ("FAILED", "address")])


def test_backup(bus: str, tmp_path: Path) -> None:
    """Both servers are looked at, and one is enough for the login."""
    result, lines = run(tmp_path, f"smartbus://user@127.0.0.1:{closed_port()}/?unit=20&backup={bus}")
    assert result.exit_code == 0, result.output
    assert [step for _, step in steps(lines)] == ["name", "address", "name", "address", "login"]
    assert [mark for mark, _ in steps(lines)] == ["ok", "FAILED", "ok", "ok", "ok"]


def test_silence_and_end_differ(stack: ExitStack) -> None:
    """A server that falls silent in the login is told from one that ends the link; nothing is left of the client."""
    verdicts = []
    for fault in (half_open(), accept_close(100)):
        server = stack.enter_context(BusServer())
        host, port = server.listen_tcp().removeprefix("tcp://").split(":")
        client = SmartBusClient(host, int(port), unit_id=20, client_id=0, client_type=9)
        with faults(server, fault):
            finding = list(examine_client(client, [connection(f"tcp://{host}:{port}")], timeout=0.3))[-1]
        assert (finding.step, finding.good, client.connected) == ("login", False, False)
        verdicts.append((finding.verdict, finding.advice))
    assert "the port right?" in verdicts[0][1]
    assert "its log" in verdicts[1][1]


def test_by_program(service: str) -> None:
    """The client may be any, with the servers beside it."""
    host, port = service.split(":")
    client = Connector("user", SECRET, "AB_1234", tecoroute_host=host, tecoroute_port=int(port), pace=Pace(0.0))
    findings = list(examine_client(client, [connection(f"tcp://{service}")]))
    assert [finding.step for finding in findings if finding.good] == ["name", "address", "login"]
    assert not client.connected


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("smartbus://127.0.0.1:1/", "unit"),
        ("smartbus://127.0.0.1/?unit=20", "port"),
        (f"smartbus://user:{SECRET}x@127.0.0.1:1/?unit=20", "can be seen by everybody"),
        ("tecoroute://user@127.0.0.1:1", "USER@HOST"),
        ("tecoroute://127.0.0.1:1/AB_1234", "USER@HOST"),
        (f"tecoroute://user:{SECRET}x@127.0.0.1:1/AB_1234", "other users can see"),
        ("tcp://127.0.0.1:1", "only smartbus and tecoroute"),
    ],
)
def test_wrong_usage(url: str, text: str, tmp_path: Path) -> None:
    """What cannot be is told before anything is opened, without a password that is in it."""
    result, _ = run(tmp_path, url)
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())
    assert f"{SECRET}x" not in result.output


def test_nothing_to_send_in_a_login(bus: str, tmp_path: Path) -> None:
    """Bytes are no question for a server that wants a login first."""
    assert run(tmp_path, f"smartbus://user@{bus}/?unit=20", SECRET, "--send", "x")[0].exit_code == 2
