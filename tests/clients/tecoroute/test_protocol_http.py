"""The readers of HTTP messages: every kind of answer, split anywhere, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnx.buffer import ReceiveBuffer
from cnx.clients.tecoroute.protocol import session as protocol
from cnx.clients.tecoroute.protocol.http import BODY_LIMIT, Request, RequestReader, Response, ResponseReader
from cnx.errors import LimitExceeded, ProtocolError

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "length": (OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "one chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
    "many chunks": (OK + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n01\r\nb\r\n1;x=y\r\nc\r\n000\r\n\r\n", b"abc"),
    "trailer": (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nDate: now\r\nX: y\r\n\r\n", b"abc"),
    "no chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    "line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", b"abc"),
    "line feeds and chunks": (b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n", b"abc"),
    "version 1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "close": (OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length:3\r\n\r\nabc", b"abc"),
    "identity": (OK + b"Content-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
}
BAD = {
    "not HTTP": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "other version": b"HTTP/2 200\r\n\r\n",
    "no length": OK + b"Date: now\r\n\r\n",
    "no field": OK + b"\r\n",
    "length and chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "negative length": OK + b"Content-Length: -3\r\n\r\n",
    "empty length": OK + b"Content-Length:\r\n\r\n",
    "Arabic digits": OK + "Content-Length: ٣\r\n\r\n".encode(),
    "unknown coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "compressed": OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "field without colon": OK + b"Date\r\n\r\n",
    "folded field": OK + b"Date: a\r\n b\r\n\r\n",
    "space before colon": OK + b"Content-Length : 3\r\n\r\n",
    "chunk without a size": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk without an end": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "endless chunk line": OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 300,
    "cut short, next one follows": OK + b"Content-Length: 9\r\n\r\nabc" + OK + b"Content-Length: 3\r\n\r\nabc",
}
TOO_LARGE = {
    "head": OK + b"X: " + b"x" * 9000,
    "length": OK + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1),
    "chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (BODY_LIMIT + 1),
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"8000\r\n%b\r\n" % bytes(0x8000) * 3,
    "trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 20000,
}


def filled(data: bytes) -> ReceiveBuffer:
    """Return a buffer that has received ``data``."""
    buffer = ReceiveBuffer()
    buffer.append(data)
    return buffer


def take_all_split(data: bytes, sizes: list[int]) -> list[Response]:
    """Return the answers in ``data`` when it comes in pieces of these sizes, over and over."""
    buffer, answers, start, turn = ReceiveBuffer(), [], 0, 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        buffer.append(data[start : start + size])
        start, turn = start + size, turn + 1
        answers += ResponseReader().take_all(buffer)
    return answers


@pytest.mark.parametrize(("data", "body"), ANSWERS.values(), ids=ANSWERS)
def test_answers(data: bytes, body: bytes) -> None:
    """Every way to tell the end of a body is understood, and the next answer follows."""
    buffer = filled(data * 2 + b"HTTP")
    assert ResponseReader().take_all(buffer) == [Response(200, body)] * 2
    assert buffer.take_all() == b"HTTP"


@pytest.mark.parametrize(("data", "body"), ANSWERS.values(), ids=ANSWERS)
def test_answers_byte_by_byte(data: bytes, body: bytes) -> None:
    """An answer is complete with its last byte, and not before."""
    assert take_all_split(data[:-1], [1]) == []
    assert take_all_split(data, [1]) == [Response(200, body)]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=6), st.lists(st.integers(1, 90), min_size=1))
def test_answers_split_anywhere(names: list[str], sizes: list[int]) -> None:
    """However the stream is split, the same answers come out."""
    data = b"".join(ANSWERS[name][0] for name in names)
    assert take_all_split(data, sizes) == [Response(200, ANSWERS[name][1]) for name in names]


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300), st.integers(1, 40), st.lists(st.integers(1, 90), min_size=1))
def test_chunks_of_any_size(body: bytes, size: int, sizes: list[int]) -> None:
    """A body in chunks of any size, split anywhere, is put together."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in pieces(body, size))
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert take_all_split(data, sizes) == [Response(200, body)]


def pieces(data: bytes, size: int) -> list[bytes]:
    """Return ``data`` in pieces of ``size`` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def test_largest_body_in_the_smallest_chunks() -> None:
    """What is put back while chunks are gathered stays small enough to end soon."""
    body = bytes(BODY_LIMIT)
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n\x00\r\n" * BODY_LIMIT + b"0\r\n\r\n"
    assert take_all_split(data, [1000]) == [Response(200, body)]


@pytest.mark.parametrize("missing", [*range(1, 20), 40])
def test_answer_that_was_cut_short(missing: int) -> None:
    """An answer that took the beginning of the next one is told from one that is whole, whatever stands behind."""
    answer = Response(200, bytes(range(100))).encode()
    [cut] = ResponseReader().take_all(filled(answer[:-missing] + answer))
    assert not cut.is_whole
    first, second = ResponseReader().take_all(filled(answer + answer))
    assert first.is_whole
    assert second.is_whole
    for rest in (b"", b"H", b"HTTP/1", b"HTTP/1.0 200", b"SSH-2.0", b"\r\n"):
        [good] = ResponseReader().take_all(filled(answer + rest))
        assert good.is_whole
        assert good == first


def test_answer_that_was_cut_short_byte_by_byte() -> None:
    """One byte behind it is enough to see that an answer was cut short; without any, nobody can."""
    answer = Response(200, bytes(range(100))).encode()
    for behind, whole in ((0, True), (1, False), (2, False)):
        [cut] = ResponseReader().take_all(filled(answer[:-3] + answer[: 3 + behind]))
        assert cut.is_whole is whole


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    """Some answers have no body, whatever their fields say."""
    data = b"HTTP/1.1 %d \r\nContent-Length: 3\r\n\r\n" % status
    assert take_all_split(data + OK + b"Content-Length: 1\r\n\r\nx", [7]) == [Response(status), Response(200, b"x")]


@pytest.mark.parametrize("status", [302, 401, 503])
def test_answers_of_any_status(status: int) -> None:
    """The status is told, and what it means is left to others."""
    assert take_all_split(Response(status, b"why").encode(), [9]) == [Response(status, b"why")]


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_bad_answers(data: bytes) -> None:
    """Where an answer ends must be beyond doubt."""
    with pytest.raises(ProtocolError):
        take_all_split(data, [7])


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
def test_answers_over_a_limit(data: bytes) -> None:
    """A head, body or trailer that has no end is refused, and not gathered."""
    with pytest.raises(LimitExceeded):
        take_all_split(data, [1000])


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200) | st.binary(max_size=60).map((OK + b"Transfer-Encoding: chunked\r\n\r\n").__add__))
def test_any_bytes(data: bytes) -> None:
    """Garbage is an error of the protocol or waits for more; nothing else happens."""
    for reader in (ResponseReader(), RequestReader()):
        buffer = filled(data)
        try:
            reader.take_all(buffer)
        except (ProtocolError, LimitExceeded) as error:
            assert str(error)  # noqa: PT017


def test_requests_of_a_whole_session() -> None:
    """The service's side reads what the client's side writes."""
    sent = [
        protocol.index_request("Mosaic", b"00BE"),
        protocol.user_request(b"AB" * 20),
        protocol.plc_request(b"00BE"),
        protocol.data_request(b"hello0"),
        protocol.data_request(b""),
    ]
    got = RequestReader().take_all(filled(b"".join(sent)))
    assert [(r.method, r.path, r.body) for r in got] == [
        ("GET", "/INDEX.XML", b""),
        ("PUT", "/IAM.TXT", b"AB" * 20 + b"\r\n"),
        ("PUT", "/PLC.TXT", b"00BE\r\n"),
        ("GET", "/DATA.BIN", bytes.fromhex("68029528b887")),
        ("GET", "/DATA.BIN", b""),
    ]
    assert got[0].fields["x-aplic"] == "Mosaic tecoroute"


def test_request_in_two_parts() -> None:
    """A request whose body comes later is complete then."""
    data = protocol.data_request(b"hello0")
    buffer = filled(data[:-6])
    assert RequestReader().take(buffer) is None
    buffer.append(data[-6:])
    request = RequestReader().take(buffer)
    assert isinstance(request, Request)
    assert protocol.decode(request.body) == b"hello0"


def test_bad_request_line() -> None:
    """What does not ask in HTTP is refused."""
    with pytest.raises(ProtocolError, match="request line"):
        RequestReader().take(filled(b"hello\r\n\r\n"))
