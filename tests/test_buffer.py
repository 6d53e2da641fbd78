"""Tests of the receive buffer, against the simplest thing that could be one."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.buffer import ReceiveBuffer, may_exceed

data = st.binary(max_size=12).map(lambda raw: bytes(b"ab\n"[byte % 3] for byte in raw))
separator = st.sampled_from([b"a", b"\n", b"ab", b"aa", b"b\na"])
size = st.integers(0, 15)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), data),
        st.tuples(st.just("find"), separator, size),
        st.tuples(st.just("find"), separator),
        st.tuples(st.just("peek"), size, size),
        st.tuples(st.just("take"), size),
        st.tuples(st.just("take_all")),
        st.tuples(st.just("tail"), size),
        st.tuples(st.just("skip"), size),
        st.tuples(st.just("put_back"), data),
        st.tuples(st.just("clear")),
        st.tuples(st.just("cut_and_untake"), size),
        st.tuples(st.just("cut_lines"), st.integers(1, 8), size),
        st.tuples(st.just("undo"), st.lists(size, max_size=3)),
    ),
    max_size=30,
)


class Model:
    """A buffer that is plain bytes."""

    def __init__(self) -> None:
        self.data = b""

    def append(self, data: bytes) -> None:
        """Add at the end."""
        self.data += data

    def find(self, separator: bytes, start: int = 0) -> int:
        """Find."""
        return self.data.find(separator, start)

    def peek(self, size: int, start: int = 0) -> bytes:
        """Look."""
        return self.data[start : start + size]

    def take(self, size: int) -> bytes:
        """Remove."""
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def take_all(self) -> bytes:
        """Remove everything."""
        return self.take(len(self.data))

    def tail(self, size: int) -> list[bytes]:
        """Look at the end."""
        return [self.data[-size:]] if size and self.data else []

    def skip(self, size: int) -> None:
        """Drop."""
        self.take(size)

    def put_back(self, data: bytes) -> None:
        """Add in front."""
        self.data = data + self.data

    def clear(self) -> None:
        """Drop everything."""
        self.data = b""

    def cut_and_untake(self, size: int) -> bytes:
        """Remove one line."""
        return self.take(self.data.find(b"\n") + 1)

    def cut_lines(self, limit: int, size: int) -> list[bytes]:
        """Return the whole lines, which stay, unless one is too long."""
        end = max(self.data.find(b"\n"), self.data.rfind(b"\n", 0, size)) + 1
        lines = BytesIO(self.data[:end]).readlines()
        return [] if any(len(line) > limit for line in lines) else lines

    def undo(self, sizes: list[int]) -> bytes:
        """Take and put back."""
        return self.peek(sum(sizes))


class Real(ReceiveBuffer):
    """The real one, with two steps of several calls."""

    __slots__ = ()

    def cut_and_untake(self, size: int) -> bytes:
        """Cut lines and put all of them back but the first."""
        lines = self.cut_lines(1000, size)
        self.untake(sum(map(len, lines[1:])))
        return lines[0] if lines else b""

    def undo(self, sizes: list[int]) -> bytes:
        """Take and put back."""
        mark = self.mark()
        taken = b"".join(self.take(size) for size in sizes)
        self.rewind(mark)
        return taken


@settings(deadline=None, max_examples=400)
@given(steps)
def test_buffer_is_a_queue_of_bytes(taken: list[Any]) -> None:
    """Whatever is done to it, in whatever order."""
    real, model = Real(), Model()
    for name, *details in taken:
        got, expected = getattr(real, name)(*details), getattr(model, name)(*details)
        if name == "cut_lines":
            assert got in ([], expected)  # it may refuse what it would have to look at closely
            model.skip(sum(map(len, got)))
        else:
            assert got == expected
        assert len(real) == len(model.data)
    assert real.take_all() == model.data


def test_one_chunk_is_not_copied() -> None:
    """What came whole goes out whole."""
    chunk = bytes(100_000)
    buffer = ReceiveBuffer()
    buffer.append(chunk)
    assert buffer.take_all() is chunk


def test_unsuccessful_search_is_not_repeated() -> None:
    """A long line that comes in small pieces costs time in proportion to its length, not to its square."""
    buffer = ReceiveBuffer()
    for _ in range(1000):
        buffer.append(b"x" * 10)
        assert buffer.find(b"\r\n") == -1
    assert buffer._searched == len(buffer) - 1  # only the last byte can begin what ends with the next
    buffer.append(b"\r")
    assert buffer.find(b"\r\n") == -1
    buffer.append(b"\n")
    assert buffer.find(b"\r\n") == 10_000


def test_read_bytes_do_not_pile_up() -> None:
    """A buffer that never runs empty does not keep what was taken."""
    buffer = ReceiveBuffer()
    buffer.append(bytes(10))
    for _ in range(1000):
        buffer.append(bytes(1000))
        buffer.take(1000)
    assert len(buffer) == 10
    assert len(buffer._data) < 200_000


@pytest.mark.parametrize("action", ["take", "skip"])
def test_negative_sizes_are_refused(action: str) -> None:
    """Rather than giving out what was taken before."""
    buffer = ReceiveBuffer()
    buffer.append(b"abc")
    buffer.take(2)
    with pytest.raises(ValueError, match="-1"):
        getattr(buffer, action)(-1)
    assert buffer.take_all() == b"c"


@settings(deadline=None, max_examples=500)
@given(data=st.lists(data, max_size=5).map(b"".join), separator=separator, limit=st.integers(1, 12))
def test_no_long_piece_is_overlooked(data: bytes, separator: bytes, limit: int) -> None:
    """The quick look says no only where each piece, with its separator, is within the limit."""
    if not may_exceed(data, separator, limit):
        *pieces, rest = data.split(separator)
        assert all(len(piece) + len(separator) <= limit for piece in pieces)
        assert len(rest) <= limit
