"""``cnx proxy``"""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from cnx.cli.commands import cnx
from tests.helpers.bare_clients import dial
from tests.helpers.commands import running
from tests.helpers.dead_ports import closed_port
from tests.helpers.echo import Echo


def test_faults_are_at_work() -> None:
    """The address is printed, every fault applies, and the command ends in order."""
    arguments = ["--fault", "duplicate=1,direction=in", "--fault", "truncate=5"]
    with Echo() as server, running("proxy", "tcp://127.0.0.1:0", server.listen_tcp(), *arguments) as command:
        with dial(command.line()) as client:
            client.send(b"abc")
            assert client.receive_all() == b"abcab"
        assert command.stop() == (0, "", "")


def test_the_same_seed_spoils_the_same_bytes() -> None:
    """A seed makes a run that can be repeated."""
    spoiled = [spoil(seed) for seed in (5, 5, 6)]
    assert spoiled[0] == spoiled[1] != spoiled[2]


def spoil(seed: int) -> bytes:
    """Return what comes back from a server behind a proxy that corrupts."""
    arguments = ["--fault", "corrupt=0.5", "--seed", seed]
    with (
        Echo() as server,
        running("proxy", "tcp://127.0.0.1:0", server.listen_tcp(), *arguments) as command,
        dial(command.line()) as client,
    ):
        client.send(bytes(100))
        return client.receive_exactly(100)


def test_dead_server_is_told() -> None:
    """Why a client was reset is said where the proxy runs."""
    with running("proxy", "tcp://127.0.0.1:0", f"tcp://127.0.0.1:{closed_port()}") as command:
        with pytest.raises(OSError, match="reset"), dial(command.line()) as client:
            client.receive()
        code, _, messages = command.stop()
    assert code == 0
    assert messages.startswith("no server for the client 127.0.0.1:")
    assert "refused" in messages


def test_listening_for_everybody_is_told() -> None:
    """Where other machines can come in, a message says so."""
    with Echo() as server, running("proxy", "tcp://0.0.0.0:0", server.listen_tcp()) as command:
        assert command.line().startswith("tcp://0.0.0.0:")
        assert "every machine" in command.stop()[2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["tcp://127.0.0.1:0", "http://example.com"], "cannot reach"),
        (["http://127.0.0.1:0", "tcp://127.0.0.1:1"], "cannot listen"),
        (["udp://127.0.0.1:0", "tcp://127.0.0.1:1"], "datagrams"),
        (["tcp://127.0.0.1:0", "tcp://127.0.0.1:1", "--fault", "explode"], "unknown fault"),
        (["tcp://127.0.0.1:0", "tcp://127.0.0.1:1", "--fault", "corrupt=2"], "corrupt must be between 0 and 1"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    """What cannot be is told before anything is opened, with exit code 2."""
    result = CliRunner().invoke(cnx, ["proxy", *arguments])
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())
