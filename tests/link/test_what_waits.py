"""No call takes longer because much waits behind what it takes, or because there are many subscribers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from cnx import Delimited, FixedSize, SocketConnection, subscribe
from cnx.buffer import ReceiveBuffer
from cnx.testing import connection_pair, wait_until
from tests.helpers.counting import calls_of
from tests.helpers.inside import link_of

LINES = 16_000


def turns(*methods: Callable[[SocketConnection], object]) -> Callable[[SocketConnection, int], None]:
    """Return a function that calls the methods in turns, so many times together."""

    def call(connection: SocketConnection, times: int) -> None:
        for number in range(times):
            methods[number % len(methods)](connection)

    return call


def readline(connection: SocketConnection) -> None:
    """Take a line."""
    assert connection.readline() == b"x\n"


def patient_readline(connection: SocketConnection) -> None:
    """Take a line within some time."""
    assert connection.readline(timeout=5.0) == b"x\n"


def read_exactly(connection: SocketConnection) -> None:
    """Take a line by its size."""
    assert connection.readexactly(2) == b"x\n"


def read_until(connection: SocketConnection) -> None:
    """Take a line by its end."""
    assert connection.readuntil(b"\n") == b"x\n"


def receive(connection: SocketConnection) -> None:
    """Take a line as a message."""
    assert connection.receive() == b"x"


WAYS = {
    "readline": turns(readline),
    "readline with a timeout": turns(patient_readline),
    "readline and readexactly": turns(readline, read_exactly),
    "readline twice, then readuntil": turns(readline, patient_readline, read_until),
    "readuntil and receive": turns(read_until, receive),
    "five ways": turns(readline, patient_readline, receive, read_exactly, read_until),
}


@pytest.mark.parametrize("way", WAYS)
def test_reading_from_the_front_of_much(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number of lines takes the same work, whether few or 16,000 lines wait, and little is cut in vain."""
    cut = 0
    cut_lines = ReceiveBuffer.cut_lines

    def counting(self: ReceiveBuffer, limit: int, size: int) -> list[bytes]:
        nonlocal cut
        lines = cut_lines(self, limit, size)
        cut += sum(map(len, lines))
        return lines

    monkeypatch.setattr(ReceiveBuffer, "cut_lines", counting)
    calls = {}
    for waiting in (1000, LINES):
        with connection_pair(framing=Delimited(b"\n"), limit=10_000_000) as (connection, peer):
            sending = threading.Thread(target=peer.sendall, args=(b"x\n" * waiting,))
            sending.start()
            link = link_of(connection)
            while link.inbox.size < 2 * waiting:
                link.read_waiting()
            sending.join()
            cut = 0
            calls[waiting] = calls_of(lambda c=connection: WAYS[way](c, 1000))  # type: ignore[misc]
            assert cut <= 64 * 1000
    assert calls[LINES] <= 1.5 * calls[1000] + 3000
    assert calls[LINES] <= 300 * 1000


@pytest.mark.parametrize("size", [1, 1000])
def test_cutting_much(size: int) -> None:
    """Twice as many messages take twice the work, of every call of a framing."""
    framing, calls = FixedSize(size), {}
    for count in (2000, 4000):
        buffer = ReceiveBuffer()
        buffer.append(bytes(size * count))

        def take(buffer: ReceiveBuffer = buffer) -> None:
            while framing.take_all(buffer):
                pass

        calls[count] = calls_of(take)
    assert calls[4000] <= 2.2 * calls[2000]


def test_a_thousand_subscribers() -> None:
    """To subscribe and cancel them one by one takes twice the work for twice as many, also on a link that is up."""
    calls = {}
    for count in (500, 1000):

        def come_and_go(count: int = count) -> None:
            with connection_pair(framing=Delimited(b"\n")) as (connection, peer):
                signal, link = connection.Signals.MESSAGE_RECEIVED, link_of(connection)
                seen: list[bytes] = []
                subscriptions = []
                for _ in range(count):
                    subscriptions.append(subscribe(connection, signal, lambda message: None))
                    assert link._receiver.wanted()  # as the listener asks, which may come to it only later
                for subscription in subscriptions:
                    subscription.cancel()
                    link._receiver.wanted()
                subscribe(connection, signal, seen.append)
                peer.sendall(b"a\n")
                wait_until(lambda: seen == [b"a"], "the message")

        calls[count] = calls_of(come_and_go)
    assert calls[1000] <= 2.5 * calls[500]
