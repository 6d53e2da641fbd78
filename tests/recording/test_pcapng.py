"""Capture files: what is written can be read, here and by Wireshark, and damage is told."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.errors import ProtocolError
from cnx.recording.history import History, load
from cnx.recording.pcapng import CaptureWriter, read_capture
from cnx.recording.recorder import Record
from tests.helpers.processes import PROCESS_PATIENCE

TIME = 1_700_000_000.0

STORY = History(
    [
        Record(TIME, "*", text="opened"),
        Record(TIME + 1, "*", text="connected"),
        Record(TIME + 2, ">", b"*IDN?\r\n", 7),
        Record(TIME + 3, "<", b"ACME,1\r\n", 8),
        Record(TIME + 4, "<", b"x" * 256, 1000),
        Record(TIME + 5, ">", b"BYE\r\n", 5),
        Record(TIME + 6, "*", text="alarm: gone"),
        Record(TIME + 6, "*", text="disconnected: gone"),
        Record(TIME + 7, "*", text="opened"),
        Record(TIME + 8, ">", b"again", 5),
    ]
)


def written(records: list[Record] | History) -> bytes:
    """Return a capture file."""
    file = io.BytesIO()
    writer = CaptureWriter(file)
    for record in records:
        writer.write(record)
    return file.getvalue()


pieces = st.builds(lambda way, data: Record(TIME, way, data, len(data)), st.sampled_from("<>"), st.binary(min_size=1))
notes = st.builds(lambda text: Record(TIME, "*", text=text), st.text(st.characters(codec="utf-8"), min_size=1))


@settings(deadline=None, max_examples=100)
@given(st.lists(pieces | notes | st.sampled_from(STORY), max_size=12))
def test_what_is_written_is_read(records: list[Record]) -> None:
    """Every record comes back."""
    assert list(read_capture(io.BytesIO(written(records)))) == records


def test_large_pieces() -> None:
    """What fits into no packet is spread over several, and nothing of it is lost."""
    data = bytes(range(256)) * 1000
    read = list(read_capture(io.BytesIO(written([Record(TIME, ">", data, len(data))]))))
    assert b"".join(record.data for record in read) == data
    assert len(read) > 1


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damage_is_told(data: st.DataObject) -> None:
    """A damaged file gives records or a ProtocolError, and nothing else."""
    whole = bytearray(written(STORY))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    try:
        records = list(read_capture(io.BytesIO(whole[:end])))
        assert len(records) <= 2 * len(STORY)  # a packet may claim to have bytes beside its comment
    except ProtocolError:
        pass


@settings(deadline=None)
@given(st.binary())
def test_other_files(data: bytes) -> None:
    """What is no capture file is refused as such."""
    with pytest.raises(ProtocolError, match="not a capture file"):
        list(read_capture(io.BytesIO(data)))


def test_a_file_that_ends_early() -> None:
    """What is whole is read, and then the end is told."""
    read = read_capture(io.BytesIO(written(STORY)[:-5]))
    assert [next(read) for _ in range(len(STORY) - 1)] == list(STORY[:-1])
    with pytest.raises(ProtocolError, match="ends in the middle"):
        next(read)


def test_the_suffix_decides(tmp_path: Path) -> None:
    """Text has a line for each record; a suffix that is not known is refused before a file is made."""
    lines = STORY.save(tmp_path / "story.txt").read_text().splitlines()
    assert lines[0] == "2023-11-14 22:13:20.000000 * opened"
    assert lines[2] == r"2023-11-14 22:13:22.000000 > b'*IDN?\r\n'"
    assert load(STORY.save(tmp_path / "story.pcapng")) == STORY
    with pytest.raises(ValueError, match="suffix"):
        STORY.save(tmp_path / "story.doc")
    assert not (tmp_path / "story.doc").exists()


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark, of Wireshark, is not installed")
class TestWireshark:
    """What Wireshark makes of it."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """Return a capture of the story."""
        return STORY.save(tmp_path / "story.pcapng")

    @staticmethod
    def tshark(file: Path, *arguments: str) -> str:
        """Return what tshark prints."""
        command = ["tshark", "-n", "-r", str(file), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PROCESS_PATIENCE).stdout

    def test_nothing_is_wrong(self, file: Path) -> None:
        """No packet is malformed, and the sequence numbers make sense; comments are on acknowledgments to spare."""
        expert = "_ws.malformed || (tcp.analysis.flags && !tcp.analysis.duplicate_ack) || ip.checksum.status == 0"
        assert self.tshark(file, "-o", "ip.check_checksum:TRUE", "-Y", expert) == ""
        assert len(self.tshark(file).splitlines()) == 15

    def test_streams_can_be_followed(self, file: Path) -> None:
        """Each link is a stream with the bytes of both directions."""
        first = self.tshark(file, "-q", "-z", "follow,tcp,ascii,0")
        assert first.index("*IDN?") < first.index("ACME,1") < first.index("BYE")
        assert "again" in self.tshark(file, "-q", "-z", "follow,tcp,ascii,1")

    def test_what_happened_is_a_comment(self, file: Path) -> None:
        """Transitions are comments of packets, and times are right."""
        told = self.tshark(file, "-Y", "frame.comment", "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.comment")
        assert f"{TIME + 6:.9f}\talarm: gone" in told.splitlines()
