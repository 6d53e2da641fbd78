"""``cnx tecoroute`` and ``cnx simulate tecoroute`` as a person runs them."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cnx.clients.tecoroute import TecorouteSimulator
from tests.helpers.commands import running
from tests.helpers.processes import PROCESS_PATIENCE, started
from tests.helpers.tecoroute_service import PATIENCE, connector_to, epsnet

ACCOUNT = ["-u", "BroukPytlik", "-l", "AB_1234"]


def free_port() -> int:
    """Return a UDP port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def service_options(simulator: TecorouteSimulator) -> list[str]:
    """Return the options that lead to a simulator."""
    url = urlsplit(simulator.urls[0] if simulator.urls else simulator.listen_tcp())
    return [*ACCOUNT, "--tecoroute-host", str(url.hostname), "--tecoroute-port", str(url.port)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_forwards_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    """It forwards datagrams, with the password from a file with a line end, and ends with code 0 on a signal."""
    secret = tmp_path / "password"
    secret.write_text("ferda1\n", encoding="utf-8")
    port = free_port()
    with TecorouteSimulator() as simulator:
        options = [*service_options(simulator), "--password-file", str(secret), "-P", str(port)]
        with running("tecoroute", "connect", "--mode", "udp", *options) as command:
            command.read_messages_until("connected to")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(PATIENCE)
                sock.connect(("127.0.0.1", port))
                sock.send(epsnet(1))
                assert sock.recv(65535) == epsnet(1)
            command.send(number)
            code, _, messages = command.end()
    assert code == 0
    assert "1 datagrams received, 1 forwarded, 1 answered" in messages


def test_ends_during_the_login() -> None:
    """A signal while the service is silent ends it with code 0."""
    with TecorouteSimulator(faults={"/IAM.TXT": "none"}) as simulator:
        options = [*service_options(simulator), "-P", "0"]
        with running("tecoroute", "connect", "-m", "udp", *options, TECOROUTE_PASSWORD="ferda1") as command:
            assert simulator.record.wait_for(lambda requests: len(requests) == 2, PROCESS_PATIENCE)
            command.send(signal.SIGTERM)
            assert command.end()[0] == 0


def test_connects_again() -> None:
    """It brings a lost tunnel up again by itself."""
    with TecorouteSimulator() as simulator:
        options = [*service_options(simulator), "-P", "0"]
        with running("tecoroute", "connect", "-m", "udp", *options, TECOROUTE_PASSWORD="ferda1") as command:
            command.read_messages_until(", for UDP at 127.0.0.1:")
            simulator.drop_sessions()
            command.read_messages_until("lost: ")
            command.read_messages_until("connected to")


def test_once_ends_with_the_tunnel() -> None:
    """With --once it ends with code 1 and the reason when the tunnel is lost."""
    with TecorouteSimulator() as simulator:
        options = [*service_options(simulator), "-P", "0", "--once"]
        with running("tecoroute", "connect", "-m", "udp", *options, TECOROUTE_PASSWORD="ferda1") as command:
            command.read_messages_until("connected to")
            simulator.drop_sessions()
            code, _, messages = command.end()
    assert (code, "closed the connection" in messages) == (1, True)


def test_wrong_password_ends_it() -> None:
    """A refusal ends it with code 1, says what to check, and does not show the password."""
    with TecorouteSimulator() as simulator:
        options = [*service_options(simulator), "-P", "0", "--password", "secret-word"]
        with running("-vv", "tecoroute", "connect", "-m", "udp", *options) as command:
            code, _, messages = command.end()
    assert code == 1
    assert "ERR_PASSWORD" in messages
    assert "secret-word" not in messages


def test_port_in_use() -> None:
    """A UDP port that is taken ends it with code 1 and says so."""
    with TecorouteSimulator() as simulator, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        options = [*service_options(simulator), "-P", str(taken.getsockname()[1])]
        with running("tecoroute", "connect", "-m", "udp", *options, TECOROUTE_PASSWORD="ferda1") as command:
            code, _, messages = command.end()
    assert (code, "Address already in use" in messages) == (1, True)


def test_password_is_asked_for() -> None:
    """At a terminal, the password is asked for, and not echoed."""
    with TecorouteSimulator() as simulator:
        command = [sys.executable, "-m", "cnx", "tecoroute", "connect", "-m", "udp"]
        options = [*service_options(simulator), "-P", "0"]
        master, terminal = os.openpty()
        streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
        with started([*command, *options], start_new_session=True, **streams) as process:
            os.close(terminal)
            shown = read_terminal(master, b"Password:")
            os.write(master, b"ferda1\n")
            shown += read_terminal(master, b"connected to")
            process.send_signal(signal.SIGTERM)
            shown += read_terminal(master, b"closed")
            assert process.wait(PROCESS_PATIENCE) == 0
        os.close(master)
    assert b"ferda1" not in shown


def read_terminal(master: int, text: bytes) -> bytes:
    """Return what a terminal shows up to ``text``."""
    shown = b""
    while text not in shown:
        assert select.select([master], [], [], PROCESS_PATIENCE)[0], f"no {text!r} in {shown!r}"
        shown += os.read(master, 4096)
    return shown


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 5000], ids=["not UTF-8", "too long"])
def test_password_file_that_is_none(content: bytes, tmp_path: Path) -> None:
    """A file that cannot hold a password is a usage error, which does not show what is in it."""
    secret = tmp_path / "password"
    secret.write_bytes(content)
    with running("tecoroute", "connect", "-m", "udp", *ACCOUNT, "-P", "0", "--password-file", str(secret)) as command:
        code, _, messages = command.end()
    assert code == 2
    assert str(secret) in messages
    assert "Traceback" not in messages
    assert "xxx" not in messages


@pytest.mark.parametrize(
    "arguments",
    [
        ["connect", *ACCOUNT],
        ["connect", "-m", "tcp", *ACCOUNT],
        ["connect", "-m", "udp", "-u", "x"],
        ["connect", "-m", "udp", *ACCOUNT],
        ["connect", "-m", "udp", *ACCOUNT, "--password", "x", "--application", "Žába"],
        ["connect", "-m", "udp", *ACCOUNT, "--password", "x", "--password-file", "-"],
        ["connect", "-m", "udp", *ACCOUNT, "--password", "x", "--allow", "here"],
        ["connect", "-m", "udp", *ACCOUNT, "--password", "x", "-P", "70000"],
    ],
    ids=" ".join,
)
def test_wrong_arguments(arguments: list[str]) -> None:
    """What cannot be is a usage error, code 2, also a password that is nowhere to be had."""
    with running("tecoroute", *arguments) as command:
        assert command.end()[0] == 2


def test_simulator() -> None:
    """The simulator prints its URL first, and has the users and PLCs that were asked for."""
    options = ["--tcp", "127.0.0.1:0", "--user", "anna:a", "--plc", "pump=acknowledge", "--fault", "2=unavailable"]
    with running("simulate", "tecoroute", *options) as command:
        url = urlsplit(command.line())
        place: dict[str, Any] = {"tecoroute_host": url.hostname, "tecoroute_port": url.port}
        unused = TecorouteSimulator()
        unused.listen_tcp()
        with unused, connector_to(unused, username="anna", password="a", plc="pump", **place) as connector:
            assert connector.request(epsnet(5, b"xy"), PATIENCE) == epsnet(5)
        command.send(signal.SIGTERM)
        assert command.end()[0] == 0


@pytest.mark.parametrize("option", ["--user=x", "--plc=x=y", "--fault=1=x", "--tcp=x"])
def test_wrong_arguments_of_the_simulator(option: str) -> None:
    """What cannot be is a usage error that says what there is."""
    with running("simulate", "tecoroute", option) as command:
        assert command.end()[0] == 2
