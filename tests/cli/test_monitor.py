"""``cnx monitor``"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cnx.cli.commands import cnx
from cnx.cli.monitor import text_of
from cnx.simulation import Session, Simulator
from tests.helpers.commands import running
from tests.helpers.dead_ports import closed_port, full_backlog
from tests.helpers.processes import PROCESS_PATIENCE


class Talker(Simulator):
    """Says hello to everybody, and then nothing."""

    def serve(self, session: Session) -> None:
        """Serve."""
        session.write("grüß Gott\r\n".encode() + b"\xff\\")
        while session.read():
            pass


class Chatterbox(Simulator):
    """Never stops."""

    def serve(self, session: Session) -> None:
        """Serve."""
        while True:
            session.write(b"bla\r\n" * 100)


def told(line: str) -> str:
    """Return a line without its time stamp."""
    return line.partition(" ")[2]


def test_a_night_with_a_restart(tmp_path: Path) -> None:
    """What comes is shown and logged, and so are the loss and the recovery; Ctrl-C is the orderly end."""
    log = tmp_path / "night.log"
    log.write_text("earlier\n", encoding="utf-8")
    hello = r"  grüß Gott\r\n\xff\\"
    with Talker() as server, running("monitor", server.listen_tcp(), "--log", log) as command:
        address = server.urls[0].removeprefix("tcp://")
        lines = [command.line(), command.line()]
        assert list(map(told, lines)) == [f"* connected to {address}", hello]
        server.kill()
        lines.append(command.line())
        assert told(lines[2]).startswith("* disconnected: ")
        assert address in lines[2]
        server.start()
        lines += [command.line(), command.line()]
        assert list(map(told, lines[3:])) == [f"* connected to {address}", hello]
        code, rest, messages = command.stop()
    assert (code, messages) == (0, "")
    assert told(rest.strip()) == "* disconnected: teardown() was called"
    assert log.read_text(encoding="utf-8").splitlines() == ["earlier", *lines, *rest.splitlines()]


def test_hexadecimal() -> None:
    """Every byte is two digits."""
    with Talker() as server, running("monitor", server.listen_tcp(), "--hex", "--once") as command:
        assert command.line()
        assert told(command.line()) == "  67 72 c3 bc c3 9f 20 47 6f 74 74 0d 0a ff 5c"
        server.drop_sessions()
        code, rest, messages = command.end()
    assert (code, messages) == (0, "")
    assert len(rest.splitlines()) == 1


def test_nobody_there_once() -> None:
    """With ``--once`` that is an error, and one line says which."""
    result = CliRunner().invoke(cnx, ["monitor", "--once", f"tcp://127.0.0.1:{closed_port()}"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: cannot connect to 127.0.0.1:")
    assert "refused" in result.output


def test_nobody_there_yet() -> None:
    """Without it, the monitor waits for somebody, and says so."""
    with running("monitor", f"tcp://127.0.0.1:{closed_port()}") as command:
        assert told(command.line()).startswith("* recovering: cannot connect to 127.0.0.1:")
        assert command.stop() == (0, "", "")


@pytest.mark.parametrize("options", [[], ["--once"]])
def test_interrupt_while_connecting(options: list[str]) -> None:
    """It ends at once, and not with the attempt."""
    with full_backlog() as port, running("-v", "monitor", *options, f"tcp://127.0.0.1:{port}") as command:
        assert "ready -> connecting" in command.messages.readline()
        code, printed, _ = command.stop()
    assert (code, printed) == (0, "")


@pytest.mark.parametrize("options", [[], ["--once"]])
def test_reader_goes_away(options: list[str]) -> None:
    """As with ``| head -1``: the monitor ends, without complaint."""
    with Chatterbox() as server, running("monitor", *options, server.listen_tcp()) as command:
        assert "* connected" in command.line()
        command.output.close()
        assert command.wait() == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_full_disk() -> None:
    """Nothing is lost silently: the monitor ends, and says why."""
    with Talker() as server, running("monitor", server.listen_tcp(), "--log", "/dev/full") as command:
        code, _, messages = command.end()
    assert code == 1
    assert "No space left on device" in messages


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain 'text' \"here\"", "plain 'text' \"here\""),
        ("21 °C".encode(), "21 °C"),
        (b"21 \xb0C", r"21 \xb0C"),
        (b"\r\n\t\x00\x1b[0m", r"\r\n\t\x00\x1b[0m"),
        (rb"\xb0", r"\\xb0"),
        ("\u2028".encode(), r"\u2028"),
        (b"", ""),
    ],
)
def test_bytes_as_text(data: bytes, text: str) -> None:
    """Text is shown as it is, and nothing that is shown can mean two things."""
    assert text_of(data) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["host:4001"], "scheme"),
        (["tcp://host"], "port is missing"),
        (["tcp://127.0.0.1:1", "--log", "/nowhere/file"], "No such file"),
        (["tcp://127.0.0.1:1", "--insecure"], "only a tls URL has a certificate"),
        ([], "Missing argument 'URL'"),
    ],
)
def test_wrong_usage(arguments: list[str], text: str) -> None:
    """Is told before anything is opened, with exit code 2."""
    result = CliRunner().invoke(cnx, ["monitor", *arguments])
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())


def test_into_a_pipe_of_a_shell() -> None:
    """``cnx monitor URL | head -1`` ends by itself."""
    with Chatterbox() as server:
        line = f"{sys.executable} -m cnx monitor {server.listen_tcp()} | head -1"
        done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert told(done.stdout).startswith("* connected to ")
