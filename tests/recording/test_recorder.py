"""The flight recorder: what it keeps, for how much, and what it shows."""

from __future__ import annotations

import ctypes
import logging
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnx.connections.sockets import SocketConnection
from cnx.errors import PeerClosed
from cnx.recording.history import KEPT, History, load
from cnx.recording.recorder import PIECE, Record, Recorder
from cnx.recording.tape import Tape
from cnx.signals.subscriptions import subscribe
from cnx.testing import connection_pair, eventually
from tests.helpers.echo import Echo

SECRET = b"swordfish"


def note(recorder: Recorder, direction: str, data: bytes) -> None:
    """Keep a piece, as a link does."""
    recorder.add(direction, data, len(data))


def shown(history: list[Record] | History) -> list[str]:
    """Return records as text, without times."""
    return [str(record) for record in history]


class TestRing:
    """The ring itself."""

    def test_keeps_the_last(self) -> None:
        """What is too old is gone, what is too large is shortened, and both are told."""
        recorder = Recorder(3)
        for number in range(5):
            note(recorder, "<", b"%d" % number)
        note(recorder, ">", b"x" * 1000)
        recorder.say("connected")
        last, large, event = recorder.records()
        assert (last.direction, last.data) == ("<", b"4")
        assert (large.size, large.data) == (1000, b"x" * PIECE)
        assert str(large).endswith("... (1000 bytes)")
        assert str(event) == "* connected"
        assert last.time <= large.time <= event.time

    @pytest.mark.parametrize(
        "view", [memoryview(b"12345678").cast("I"), memoryview(b"12345678").cast("B", (2, 4)), bytearray(b"12345678")]
    )
    def test_what_is_written_is_kept_as_bytes_of_its_own(self, view: memoryview | bytearray) -> None:
        """A view of larger items, or of several dimensions, is kept as the bytes that it stands for."""
        with connection_pair() as (connection, peer):
            connection.write(view)
            assert peer.recv(100) == b"12345678"
            assert [record[1:4] for record in connection.history()][-1] == (">", b"12345678", 8)
            assert type(list(connection.history())[-1].data) is bytes

    @pytest.mark.parametrize(("records", "error"), [(-1, ValueError), (100_001, ValueError), (True, TypeError)])
    def test_wrong_sizes(self, records: int, error: type[Exception]) -> None:
        """The size of the ring is bounded."""
        with pytest.raises(error, match="record"):
            Recorder(records)


class TestSecrets:
    """Secrets do not leave the recorder."""

    @given(st.lists(st.tuples(st.sampled_from("<>"), st.integers(1, 9)), max_size=9), st.integers(0, 300))
    def test_in_any_pieces(self, cuts: list[tuple[str, int]], before: int) -> None:
        """However a secret is cut into pieces, or by the limit of a piece, not two of its bytes are shown."""
        recorder = Recorder()
        note(recorder, ">", b"-" * before + SECRET)
        rest = {"<": SECRET, ">": SECRET}
        for direction, size in cuts:
            note(recorder, direction, rest[direction][:size])
            rest[direction] = rest[direction][size:] or SECRET
        for direction in "<>":
            note(recorder, direction, rest[direction])
        told = b"".join(record.data for record in recorder.records([SECRET]))
        assert not any(told.count(SECRET[at : at + 2]) for at in range(len(SECRET) - 1))

    def test_when_the_beginning_is_gone(self) -> None:
        """The rest of a secret whose beginning has left the ring is not shown."""
        recorder = Recorder(2)
        for piece in (b"login sword", b"fish\r\n", b"ok"):
            note(recorder, ">", piece)
        assert [record.data for record in recorder.records([SECRET])] == [b"****\r\n", b"ok"]

    def test_all_else_is_untouched(self) -> None:
        """What only looks like a part of a secret is shown where nothing is missing."""
        recorder = Recorder()
        note(recorder, ">", b"shark, sword")
        assert recorder.records([SECRET])[0].data == b"shark, sword"


class TestConnection:
    """What connections record."""

    def test_everything_in_order(self) -> None:
        """Transitions and bytes of both directions are there, in the order in which they happened."""
        with connection_pair() as (connection, peer):
            connection.write(b"question")
            assert peer.recv(100) == b"question"
            peer.sendall(b"answer")
            assert connection.read(100, timeout=10) == b"answer"
        assert shown(connection.history()) == [
            "* opened",
            "* connected",
            "> b'question'",
            "< b'answer'",
            "* disconnected: teardown() was called",
        ]

    @pytest.mark.parametrize("call", ["read", "readexactly", "readuntil", "read_into", "subscribe"])
    def test_every_way_of_reading(self, call: str) -> None:
        """Each way on which bytes come in is recorded, once."""

        class Five(ctypes.Structure):
            _fields_ = (("data", ctypes.c_char * 5),)

        ways: dict[str, Callable[[SocketConnection], object]] = {
            "read": lambda connection: connection.read(5, timeout=10),
            "readexactly": lambda connection: connection.readexactly(5, timeout=10),
            "readuntil": lambda connection: connection.readuntil(b"\n", timeout=10),
            "read_into": lambda connection: connection.read_into(Five(), timeout=10),
            "subscribe": lambda connection: subscribe(connection, connection.Signals.DATA_RECEIVED, lambda: None),
        }
        with connection_pair() as (connection, peer):
            peer.sendall(b"1234\n")
            ways[call](connection)
            assert eventually(lambda: connection.traffic.bytes_received == 5)
            assert [record.data for record in connection.history() if record.direction == "<"] == [b"1234\n"]

    def test_switched_off(self) -> None:
        """With record=0 nothing is kept."""
        with connection_pair(record=0) as (connection, _):
            connection.write(b"question")
        assert connection.history() == ()

    def test_a_write_that_failed_is_not_taken_for_sent(self) -> None:
        """A write that was cut is told as such."""
        with connection_pair() as (connection, _), pytest.raises(TimeoutError):
            connection.write(bytes(1 << 24), timeout=0.05)
        told = shown(connection.history())
        assert any(line.startswith("* only ") and line.endswith("of these 16777216 bytes were sent") for line in told)

    def test_secrets(self, tmp_path: Path) -> None:
        """No form of the history shows a secret of the connection."""
        near, far = socket.socketpair()
        connection = SocketConnection.from_socket(near)
        connection.secrets = (SECRET,)
        with far, connection:
            connection.write(b"login ferda " + SECRET)
        history = connection.history()
        assert "login ferda *********" in history.text()
        for suffix in (".txt", ".pcapng"):
            assert SECRET not in history.save(tmp_path / f"history{suffix}").read_bytes()

    def test_saved_at_an_alarm(self, tmp_path: Path) -> None:
        """With record_to, an alarm leaves two files, before it is told, that end with the reason."""
        with Echo() as server:
            host, port = server.listen_tcp().removeprefix("tcp://").split(":")
            connection = SocketConnection(host, int(port), record_to=tmp_path)
            found: list[list[str]] = []
            subscribe(
                connection, connection.Signals.RAISE_ALARM, lambda: found.append(sorted(map(str, tmp_path.iterdir())))
            )
            with connection:
                connection.write(b"ping")
                assert connection.readexactly(4, timeout=10) == b"ping"
                connection.raise_alarm("the device is on fire")
                assert eventually(lambda: found)
        capture, text = map(Path, found[0])
        assert text.read_text().splitlines()[-2].endswith("* alarm: the device is on fire")
        assert shown(load(capture)) == shown(connection.history())

    def test_an_end_on_request_saves_nothing(self, tmp_path: Path) -> None:
        """No file is written when nothing went wrong."""
        with connection_pair(record_to=tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_saved_files_are_bounded(self, tmp_path: Path) -> None:
        """Only the last ones stay."""
        with connection_pair(record_to=tmp_path) as (connection, _):
            pass
        for number in range(KEPT + 5):
            connection.emit_end(PeerClosed(f"end {number}"))
        assert len(list(tmp_path.iterdir())) == 2 * KEPT
        last = max(tmp_path.glob("*.txt"), key=lambda path: path.name)
        assert f"end {KEPT + 4}" in last.read_text()

    def test_a_directory_that_vanished(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Where nothing can be saved, the log says so and the end is told as always."""
        directory = tmp_path / "gone"
        directory.mkdir()
        with connection_pair(record_to=directory) as (connection, peer):
            directory.rmdir()
            peer.close()
            assert eventually(lambda: not connection.connected)
        assert eventually(lambda: "its history cannot be saved" in caplog.text)
        assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1

    def test_wrong_directory(self, tmp_path: Path) -> None:
        """A directory that is not there is refused at once."""
        with pytest.raises(ValueError, match="must be an existing directory"):
            SocketConnection("127.0.0.1", 1, record_to=tmp_path / "missing")

    def test_only_the_owner_can_read_the_files(self, tmp_path: Path) -> None:
        """They may hold a login. Events in them are in one line, and can be written whatever they contain."""
        with connection_pair(record_to=tmp_path) as (connection, _):
            connection.raise_alarm("\x1b[2J\nFAKE\ud800")
            assert eventually(lambda: len(list(tmp_path.iterdir())) == 2)
            connection.history().save(tmp_path / "saved.pcapng")
        with Tape(tmp_path / "tape.txt") as tape, Tape(tmp_path / "tape.pcapng"):
            tape.say("\x1b[2J\nFAKE\ud800")
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
            path.name: 0o600 for path in tmp_path.iterdir()
        }
        for path in tmp_path.glob("*.txt"):
            assert r"\u001b[2J\nFAKE\ud800" in path.read_text()
            assert path.read_text().replace("\n", "").isprintable()
