"""``cnx record`` and ``cnx replay``"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from cnx.cli.commands import cnx
from cnx.cli.record import RecordedTransport
from cnx.recording.history import History, load
from cnx.recording.recorder import Record
from cnx.simulation import Session, Simulator
from cnx.testing import eventually
from cnx.transports.sockets import SocketTransport
from tests.helpers.bare_clients import dial
from tests.helpers.commands import running
from tests.helpers.dead_ports import closed_port
from tests.helpers.processes import PROCESS_PATIENCE

HUGE = os.urandom(200_000)


class Device(Simulator):
    """Greets, then answers each request, and one of them at length."""

    def serve(self, session: Session) -> None:
        """Serve."""
        session.write(b"HELLO\n")
        while data := session.read():
            session.write(HUGE if data == b"DUMP\n" else data.upper())


def test_record_and_replay(tmp_path: Path) -> None:
    """What a client and a device said is written down, whole, and played back to a client that says the same."""
    file = tmp_path / "talk.pcapng"
    with Device() as device, running("record", device.listen_tcp(), file, "--listen", "tcp://127.0.0.1:0") as command:
        with dial(command.line()) as client:
            talk(client.send, client.receive_exactly)
        assert command.stop() == (0, "", "")
    assert load(file)[-1].text == "disconnected: the link ended"
    assert b"".join(record.data for record in load(file) if record.direction == "<") == b"HELLO\nPING\n" + HUGE
    with running("replay", file, "--speed", "inf") as command:
        with dial(command.line()) as client:
            talk(client.send, client.receive_exactly)
            assert client.receive() == b""
        assert command.stop() == (0, "", "")


def talk(send: object, receive_exactly: object) -> None:
    """Talk to the device."""
    assert callable(send)
    assert callable(receive_exactly)
    assert receive_exactly(6) == b"HELLO\n"
    send(b"ping\n")
    assert receive_exactly(5) == b"PING\n"
    send(b"DUMP\n")
    assert receive_exactly(len(HUGE)) == HUGE


def test_differences_are_printed(tmp_path: Path) -> None:
    """A client that sends something else is told of, and the exit code says so."""
    records = [Record(0, ">", b"ping\n", 5), Record(0, "<", b"PING\n", 5), Record(0, "*", text="disconnected: end")]
    file = History(records).save(tmp_path / "talk.pcapng")
    with running("replay", file) as command:
        with dial(command.line()) as client:
            client.send(b"pong\n")
            assert client.receive_all() == b"PING\n"
        assert command.line() == r"client 0 sent b'ong\n' instead of b'ing\n', after 1 bytes"
        assert command.stop()[0] == 1


def test_alone(tmp_path: Path) -> None:
    """Without a client, cnx connects, stays connected when the device goes away for a while, and writes what comes."""
    file = tmp_path / "night.txt"
    with Device() as device, running("record", device.listen_tcp(), file) as command:
        assert eventually(lambda: file.exists() and "HELLO" in file.read_text(), PROCESS_PATIENCE)
        device.drop_sessions()
        assert eventually(lambda: file.read_text().count("HELLO") == 2, PROCESS_PATIENCE)
        assert command.stop() == (0, "", "")
    told = [line.split(" ", 2)[2] for line in file.read_text().splitlines()]
    assert told[:2] == ["* opened", r"< b'HELLO\n'"]
    assert told[2].startswith("* disconnected: ")
    assert told[-1] == "* disconnected: teardown() was called"


def test_request_is_written_down_before_its_answer() -> None:
    """However quick the answer is."""
    noted: list[str] = []

    class Noting(SocketTransport):
        def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
            noted.append("sent")
            return super().write(data, timeout)

    near, far = socket.socketpair()
    with far:
        transport = RecordedTransport(
            Noting(near, "far"), lambda direction, data: noted.append(f"{direction} {data!r}")
        )
        assert transport.write(b"ask", None) == 3
        assert far.recv(10) == b"ask"
        transport.close()
    assert noted == ["> b'ask'", "sent"]


def test_dead_device_is_told(tmp_path: Path) -> None:
    """Where the device is not there, the user is told, and so is the reader of the file."""
    url = f"tcp://127.0.0.1:{closed_port()}"
    file, alone = tmp_path / "talk.txt", tmp_path / "alone.txt"
    with running("record", url, file, "--listen", "tcp://127.0.0.1:0") as command:
        with pytest.raises(OSError, match="reset"), dial(command.line()) as client:
            client.receive()
        assert "no server for the client" in command.stop()[2]
    assert "* failed: " in file.read_text()
    with running("record", url, alone) as command:
        assert eventually(lambda: alone.exists() and "* failed: " in alone.read_text(), PROCESS_PATIENCE)
        assert command.stop()[2].startswith("trying again, after: ")


@pytest.mark.parametrize(
    ("arguments", "text", "code"),
    [
        (["record", "tcp://127.0.0.1:1", "{}/a.doc"], "suffix", 2),
        (["record", "http://127.0.0.1:1", "{}/a.txt"], "scheme", 2),
        (["record", "tcp://127.0.0.1:1", "{}/a.txt", "--listen", "http://x"], "cannot listen", 2),
        (["record", "tls://127.0.0.1:1", "{}/a.txt", "--listen", "tcp://127.0.0.1:0", "--insecure"], "--insecure", 2),
        (["record", "tcp://127.0.0.1:1", "{}/missing/a.txt"], "No such file", 1),
        (["replay", "{}/empty.pcapng"], "not a capture file", 1),
        (["replay", "{}/empty.pcapng", "--speed", "0"], "above 0", 2),
    ],
)
def test_what_cannot_be(arguments: list[str], text: str, code: int, tmp_path: Path) -> None:
    """Wrong files and addresses are told in one line."""
    (tmp_path / "empty.pcapng").touch()
    result = CliRunner().invoke(cnx, [argument.format(tmp_path) for argument in arguments])
    assert result.exit_code == code
    assert text in " ".join(result.output.split())


@pytest.mark.parametrize("way", [[], ["--listen", "tcp://127.0.0.1:0"]], ids=["alone", "between"])
@pytest.mark.parametrize("suffix", ["txt", "pcapng"])
def test_recording_is_not_overwritten(way: list[str], suffix: str, tmp_path: Path) -> None:
    """A file that exists stays as it is, unless that is asked for."""
    file = tmp_path / f"night.{suffix}"
    file.write_bytes(b"the only recording of the fault")
    refused = CliRunner().invoke(cnx, ["record", "tcp://127.0.0.1:1", str(file), *way])
    assert (refused.exit_code, "exists already; choose another name" in refused.output) == (2, True)
    assert file.read_bytes() == b"the only recording of the fault"
    with Device() as device, running("record", device.listen_tcp(), file, "--overwrite") as command:
        assert eventually(lambda: b"HELLO" in file.read_bytes(), PROCESS_PATIENCE)
        assert command.stop() == (0, "", "")
