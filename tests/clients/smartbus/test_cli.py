"""The commands ``cnx smartbus`` and ``cnx simulate smartbus``."""

from __future__ import annotations

import json
import queue
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cnx.cli.commands import cnx
from cnx.clients.smartbus import BusServer, Packet
from cnx.clients.smartbus.protocol.flows import Notify
from cnx.signals.subscriptions import subscribe
from tests.helpers.commands import running
from tests.helpers.processes import PROCESS_PATIENCE
from tests.helpers.smartbus_office import RecordingServer
from tests.helpers.smartbus_peer import PATIENCE, endpoint
from tests.helpers.smartbus_scene import client_of


@pytest.fixture
def office() -> Iterator[RecordingServer]:
    """A running server with a user and a flow."""
    with RecordingServer(users={"ann": "secret"}) as server:
        server.flow("shop", "price")(lambda item, count: f"{count} {item}")
        server.listen_tcp()
        yield server


def run(
    server: BusServer, *arguments: str, user: str = "ann", query: str = "unit=20&client=1", **options: Any
) -> Result:
    """Run a command against a server."""
    url = f"smartbus://{user}@{server.urls[0].removeprefix('tcp://')}/?{query}"
    env = {"SMARTBUS_PASSWORD": "secret"}
    return CliRunner().invoke(cnx, ["smartbus", *arguments, "--url", url], env=env, **options)


def test_ping(office: RecordingServer) -> None:
    """Round trips are shown, each and their median."""
    result = run(office, "ping", "0", "0", "1", "--count", "2", "--interval", "0", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["number"] for line in result.stdout.splitlines()] == [1, 2]
    assert "2 answered, median" in result.stderr


def test_ping_without_answer(office: RecordingServer) -> None:
    """A ping that is not answered makes the exit code 1."""
    result = run(office, "ping", "30", "0", "9", "--count", "1", "--timeout", "0.05")
    assert result.exit_code == 1
    assert "1 of 1 pings were not answered" in result.stderr


@pytest.mark.parametrize(("options", "shown"), [((), '["3 apple"]'), (("--no-return",), "started")])
def test_invoke(office: RecordingServer, options: tuple[str, ...], shown: str) -> None:
    """A flow is called with JSON, or text where it is none; what it returns is shown."""
    result = run(office, "invoke", "0", "0", "shop", "price", "apple", "3", *options)
    assert (result.exit_code, result.stdout.strip()) == (0, shown)


def test_invoke_what_does_not_exist(office: RecordingServer) -> None:
    """A flow that is not started is an error."""
    result = run(office, "invoke", "0", "0", "shop", "stock")
    assert result.exit_code == 1
    assert "destination does not exist (-23)" in result.stderr


def test_notify(office: RecordingServer) -> None:
    """A notice reaches the server before the command ends."""
    assert run(office, "notify", "0", "0", "shop", "title", "消息", "--expires", "5").exit_code == 0
    assert office.notices.get(timeout=PATIENCE)[1] == Notify("shop", "title", "消息", 1, 5000)


@pytest.mark.parametrize(("options", "data"), [(("文字",), "文字".encode()), (("0001ff", "--hex"), b"\0\1\xff")])
def test_send(office: RecordingServer, options: tuple[str, ...], data: bytes) -> None:
    """Text and bytes reach another client."""
    received: queue.Queue[Packet] = queue.Queue()
    office.users = None
    with client_of(endpoint(office.urls[0])[1], 21, 1) as other:
        other.on_packet = lambda link, packet: received.put(packet)  # type: ignore[method-assign]
        assert run(office, "send", "21", "1", "9", *options, "--cmd", "7").exit_code == 0
        while (packet := received.get(timeout=PATIENCE)).cmd_type != 3:
            continue
    assert (packet.cmd, packet.data) == (7, data)


def test_peers(office: RecordingServer) -> None:
    """The others on the bus are listed."""
    office.users = None
    with client_of(endpoint(office.urls[0])[1], 21, 1, info="other"):
        result = run(office, "peers", "--wait", "0.3", "--json")
    assert json.loads(result.stdout) == {"unit": 21, "client": 1, "type": 9, "access_point": 0, "info": "other"}


def test_listen(office: RecordingServer) -> None:
    """Data and presence are shown as they come, until enough came."""
    url = f"smartbus://ann@{office.urls[0].removeprefix('tcp://')}/?unit=20&client=1&info=me"
    options = ["--json", "--count", "1", "--url", url]
    there = threading.Event()
    with (
        running("smartbus", "listen", *options, SMARTBUS_PASSWORD="secret") as command,
        client_of(endpoint(office.urls[0])[1], 21, 1, user="ann", password="secret", info="other") as other,
    ):
        subscribe(other, other.BusSignals.PEER_CONNECTED, there.set)
        assert other.peers or there.wait(PROCESS_PATIENCE)
        other.send(1, 3, 20, 1, 9, "hello")
        code, printed, messages = command.end()
    events = [json.loads(line) for line in printed.splitlines()]
    assert (code, messages) == (0, "")
    assert [event["event"] for event in events] == ["connected", "data"]
    assert (events[0]["info"], events[1]["text"], events[1]["hex"]) == ("other", "hello", b"hello".hex())


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("tcp://host:1/?unit=20", "scheme must be smartbus"),
        ("smartbus://host/?unit=20", "host or the port is missing"),
        ("smartbus://host:99999/?unit=20", "Port out of range"),
        ("smartbus://host:1/", "unit id of this client is missing"),
        ("smartbus://host:1/?unit=12", "16 to 47"),
        ("smartbus://host:1/?unit=x", "unit, client and type must be numbers, not 'x'"),
        ("smartbus://host:1/?unit=20&type=1", "2 to 255"),
        ("smartbus://host:1/?unit=20&colour=red", "unknown option colour"),
        ("smartbus://host:1/?unit=20&backup=host", "not HOST:PORT"),
        ("smartbus://host:1/path?unit=20", "path or a fragment"),
        ("smartbus://ann:topsecret@host:1/?unit=20", "--password-file"),
    ],
)
def test_bad_urls(url: str, what: str) -> None:
    """A wrong URL is an error of usage that says which part; a password in it is not repeated."""
    result = CliRunner().invoke(cnx, ["smartbus", "peers", "--url", url])
    assert result.exit_code == 2
    assert what in result.stderr
    assert "topsecret" not in result.output


def test_wrong_password(office: RecordingServer, tmp_path: Path) -> None:
    """A refusal is one line and exit code 1; a password file wins over the environment."""
    (tmp_path / "password").write_text("wrong\n")
    result = run(office, "peers", "--password-file", str(tmp_path / "password"))
    assert result.exit_code == 1
    assert "wrong password (-6)" in result.stderr


def test_bad_values(office: RecordingServer) -> None:
    """What cannot be sent is an error of usage."""
    assert run(office, "send", "20", "1", "9", "x").exit_code == 2
    result = run(office, "send", "21", "1", "9", "zz", "--hex")
    assert (result.exit_code, "TEXT must be hexadecimal" in result.stderr) == (2, True)
    assert run(office, "invoke", "0", "0", "p" * 40, "flow").exit_code == 2


def test_simulate(tmp_path: Path) -> None:
    """A master and a backup run with users and flows until they are told to stop."""
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "officeflows.py").write_text("FLOWS = {('shop', 'double'): lambda value: value * 2}\n")
    options = ["--user", f"ann:{tmp_path / 'password'}", "--flows", "officeflows"]
    with running(
        "simulate", "smartbus", "--port", "0", "--backup-port", "0", *options, PYTHONPATH=str(tmp_path)
    ) as command:
        master = endpoint(command.line())
        backup = endpoint(command.messages.readline().strip().removeprefix("backup "))
        for _, port in (master, backup):
            with client_of(port, 20, user="ann", password="secret") as client:
                assert client.invoke_flow(0, 0, "shop", "double", [21]).result() == [42]
        command.send(signal.SIGTERM)
        assert command.end()[0] == 0


@pytest.mark.parametrize(
    "options", [("--user", "ann:/no/such/file"), ("--flows", "no_such_module"), ("--flows", "json")]
)
def test_simulate_with_bad_options(options: tuple[str, ...]) -> None:
    """Files and modules that are not there are errors of usage."""
    result = CliRunner().invoke(cnx, ["simulate", "smartbus", "--port", "0", *options])
    assert result.exit_code == 2


@pytest.mark.parametrize("backup", ["", "&backup=127.0.0.1:{port}"])
def test_listen_is_interrupted_while_there_is_no_server(backup: str) -> None:
    """It says what is the matter, goes on trying, and ends by Ctrl-C."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        url = f"smartbus://127.0.0.1:{port}/?unit=20{backup.format(port=port)}"
        with running("smartbus", "listen", "--url", url) as command:
            assert "Connection refused" in command.messages.readline()
            assert command.stop() == (0, "", "")


def test_listen_ends_when_nobody_reads(office: RecordingServer) -> None:
    """As in ``cnx smartbus listen | head -1``."""
    office.users = None
    address = office.urls[0].removeprefix("tcp://")
    with running("smartbus", "listen", "--url", f"smartbus://{address}/?unit=20") as command:
        with client_of(endpoint(office.urls[0])[1], 21, 1) as other:
            assert "21/1 type 9" in command.line()
            command.output.close()
            other.send(1, 3, 20, 0, 9, "nobody sees this")
            assert command.wait() == (0, "")


def test_listen_is_refused(office: RecordingServer, tmp_path: Path) -> None:
    """A wrong password ends it, and is not repeated."""
    file = tmp_path / "password"
    file.write_text("mistaken")
    address = office.urls[0].removeprefix("tcp://")
    url = f"smartbus://ann@{address}/?unit=20"
    with running("smartbus", "listen", "--url", url, "--password-file", file) as command:
        code, printed, messages = command.end()
    assert (code, printed) == (1, "")
    assert "wrong password (-6)" in messages
    assert "mistaken" not in messages
