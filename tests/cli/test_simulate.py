"""``cnx simulate``, and the chiller as the device that has no page of its own."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from cnx.cli.commands import cnx
from cnx.clients.chiller import ChillerClient
from tests.helpers.commands import running


@pytest.mark.parametrize("where", [["--tcp", "127.0.0.1:0"], ["--tcp", "[::1]:0"], ["--pty"]], ids=" ".join)
def test_chiller_answers(where: list[str]) -> None:
    """The URL that is printed first is the one to use; Ctrl-C is the orderly end."""
    with running("simulate", "chiller", *where) as command:
        with ChillerClient(command.line(), reply_timeout=10.0) as client:
            assert client.supply_temperature() == pytest.approx(21.0, abs=5)
        assert command.stop() == (0, "", "")


def test_several_ways_and_units() -> None:
    """A bus of two units, by TCP and as a serial port at once."""
    with running("simulate", "chiller", "--tcp", "127.0.0.1:0", "--pty", "--id", "3", "--id", "7") as command:
        urls = [command.line(), command.line()]
        assert [url.partition(":")[0] for url in urls] == ["tcp", "serial"]
        for url, unit in zip(urls, (3, 7), strict=True):
            with ChillerClient(url, device_id=unit, reply_timeout=10.0) as client:
                client.watchdog()
        assert command.stop()[0] == 0


def test_port_in_use() -> None:
    """One line says which, and why."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = CliRunner().invoke(cnx, ["simulate", "chiller", "--tcp", f"127.0.0.1:{port}"])
    assert result.exit_code == 1
    assert result.output == f"Error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_unknown_name() -> None:
    """The same."""
    result = CliRunner().invoke(cnx, ["simulate", "chiller", "--tcp", "nowhere.invalid:0"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: cannot listen on 'nowhere.invalid': ")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--tcp", "4001"], "'4001' is not HOST:PORT"),
        (["--tcp", "127.0.0.1:99999"], "is not HOST:PORT"),
        (["--tcp", "a..b:0"], "cannot listen on 'a..b'"),
        (["--id", "33"], "not in the range"),
        (["--baudrate", "0"], "not in the range"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    """Is told before anything is opened, with exit code 2."""
    result = CliRunner().invoke(cnx, ["simulate", "chiller", *arguments])
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())
