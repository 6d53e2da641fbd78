"""Much that arrives at once is emitted in steps: deadlines and ends are looked at between them, and nothing is lost."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cnx import (
    Delimited,
    FixedSize,
    Framing,
    JsonLines,
    LengthPrefixed,
    ProtocolError,
    SocketConnection,
    TimedOut,
    subscribe,
)
from cnx.buffer import MESSAGES_AT_ONCE, ReceiveBuffer
from cnx.clients.m2 import M2Lines
from cnx.clients.smartbus.protocol.packets import Address, Packet, PacketFraming
from cnx.connections.delivery import Delivery
from cnx.testing import PATIENCE, connection_pair, wait_until
from tests.helpers.inside import is_reading

MESSAGE = SocketConnection.Signals.MESSAGE_RECEIVED
DATA = SocketConnection.Signals.DATA_RECEIVED
MANY = 5000
LINES = b"\n" * MANY


class AllAtOnce(Framing):
    """A framing of a user, which takes whatever there is."""

    def take(self, buffer: ReceiveBuffer) -> bytes | None:
        """Take a byte."""
        return buffer.take(1) or None

    def take_all(self, buffer: ReceiveBuffer) -> list[bytes]:
        """Take every byte."""
        return [bytes([byte]) for byte in buffer.take_all()]


FRAMINGS: list[tuple[Framing, bytes]] = [
    (Delimited(b"\n"), b"\n"),
    (Delimited(b"\n", keep=True), b"a\n"),
    (LengthPrefixed(1), b"\0"),
    (FixedSize(1), b"a"),
    (JsonLines(), b"1\r\n"),
    (JsonLines(loads=int), b"1\r\n"),
    (M2Lines(), b'{"id":"a"}\r\n'),
    (M2Lines(), b"\r\n"),
    (PacketFraming(), bytes(Packet(1, 1, Address(1, 1, 1), Address(2, 2, 2)))),
]


@pytest.mark.parametrize(("framing", "message"), FRAMINGS)
def test_no_framing_cuts_very_many_messages_at_once(framing: Framing, message: bytes) -> None:
    """And no message is lost or changed because of that, wherever the stream was cut before."""
    buffer = ReceiveBuffer()
    alone = framing.take_all(filled(message))
    buffer.append(message[:-1])
    buffer.append(message[-1:] + message * (MANY - 1))
    found: list[Any] = []
    while some := framing.take_all(buffer):
        assert len(some) <= MESSAGES_AT_ONCE
        found += some
    assert len(buffer) == 0
    assert list(map(repr, found)) == list(map(repr, alone * MANY))


def filled(data: bytes) -> ReceiveBuffer:
    """Return a buffer with ``data``."""
    buffer = ReceiveBuffer()
    buffer.append(data)
    return buffer


def test_message_that_is_longer_than_what_is_looked_at() -> None:
    """Comes as a whole, with the short ones around it in their order."""
    framing, buffer = Delimited(b"\r\n", limit=100_002), ReceiveBuffer()
    messages = [b"a", b"x" * 100_000, b"", b"b" * 20_000, b"c"] * 3
    buffer.append(b"".join(message + b"\r\n" for message in messages))
    found: list[bytes] = []
    while some := framing.take_all(buffer):
        found += some
    assert found == messages


@pytest.mark.parametrize("framing", [Delimited(b"\n"), AllAtOnce()], ids=["library", "user"])
def test_delivery_takes_steps(framing: Framing) -> None:
    """Of some hundred messages, also if the framing gives more; each piece of bytes comes before its messages."""
    connection = SocketConnection("127.0.0.1", 1)
    delivery = Delivery(connection, framing)
    seen: list[tuple[str, bytes]] = []
    subscribe(connection, DATA, lambda data: seen.append(("data", data)))
    subscribe(connection, MESSAGE, lambda message: seen.append(("message", message)))
    delivery.add(LINES)
    delivery.add(b"\n\n")
    steps = 0
    while delivery.pending:
        before = len(seen)
        delivery.deliver_more()
        assert len(seen) - before <= MESSAGES_AT_ONCE + 1
        steps += 1
    assert steps >= MANY / MESSAGES_AT_ONCE
    kinds = [kind for kind, _ in seen]
    assert kinds == ["data", *["message"] * MANY, "data", "message", "message"]
    assert delivery.messages == MANY + 2


def from_peer(connection: SocketConnection, action: Callable[[], object]) -> None:
    """Have the peer act once a caller on this thread is the one that reads."""

    def act() -> None:
        wait_until(lambda: is_reading(connection), "reading")
        action()

    threading.Thread(target=act, daemon=True).start()


def test_caller_looks_between_the_steps() -> None:
    """So its deadline is not put off by a chunk with very many messages, whatever the handlers do with each."""
    with connection_pair(framing=Delimited(b"\n")) as (connection, peer):
        seen: list[bytes] = []
        looks: list[int] = []

        def found() -> object:
            looks.append(len(seen))
            return len(seen) == MANY or None

        subscribe(connection, MESSAGE, seen.append)
        from_peer(connection, lambda: peer.sendall(LINES))
        connection.wait_for(found, timeout=PATIENCE)
        assert max(after - before for before, after in itertools.pairwise(looks)) <= MESSAGES_AT_ONCE


def test_rest_is_emitted_without_the_caller() -> None:
    """A reading call that has what it wanted leaves the other messages to the listener."""
    with connection_pair(framing=Delimited(b"\n")) as (connection, peer):
        seen: list[bytes] = []
        subscribe(connection, MESSAGE, seen.append)
        from_peer(connection, lambda: peer.sendall(b"first" + LINES))
        assert connection.readline(timeout=PATIENCE) == b"first\n"
        wait_until(lambda: len(seen) == MANY, "all messages")
        with pytest.raises(TimedOut):
            connection.wait_for(lambda: None, timeout=0.0)
        peer.sendall(b"last\n")
        wait_until(lambda: seen[-1] == b"last", "the last message")


@pytest.mark.parametrize("reader", ["listener", "caller"])
def test_everything_before_a_loss_is_emitted_before_it(reader: str) -> None:
    """Although the loss is found while many messages were not emitted yet."""
    with connection_pair(framing=Delimited(b"\n")) as (connection, peer):
        seen: list[object] = []
        over = threading.Event()
        subscribe(connection, MESSAGE, seen.append)
        subscribe(connection, connection.Signals.DISCONNECTED, lambda reason: (seen.append(None), over.set()))

        def end() -> None:
            peer.sendall(LINES)
            peer.close()

        if reader == "listener":
            end()
        else:
            from_peer(connection, end)
            assert connection.wait_for(lambda: len(seen) >= MANY or None, timeout=PATIENCE)
        assert over.wait(PATIENCE)
        assert seen == [b""] * MANY + [None]


def test_nothing_is_emitted_after_a_stop() -> None:
    """Which a handler asks for in the midst of a step."""
    with connection_pair(framing=Delimited(b"\n")) as (connection, peer):
        seen: list[object] = []
        over = threading.Event()

        def on_message(message: bytes) -> None:
            seen.append(message)
            if len(seen) == MESSAGES_AT_ONCE + 10:
                connection.disconnect()

        subscribe(connection, MESSAGE, on_message)
        subscribe(connection, connection.Signals.DISCONNECTED, lambda reason: (seen.append(None), over.set()))
        peer.sendall(LINES)
        assert over.wait(PATIENCE)
        assert seen == [b""] * (MESSAGES_AT_ONCE + 10) + [None]


class Refusing(SocketConnection):
    """Ends the link at a message in the second step."""

    def on_message(self, message: bytes) -> None:
        """Refuse ``x``."""
        if message == b"x":
            raise ProtocolError("x")


def test_protocol_error_in_a_later_step_ends_the_link() -> None:
    """With that reason; what follows is not emitted."""
    near, far = socket.socketpair()
    connection = Refusing.from_socket(near, framing=Delimited(b"\n"))
    reasons: list[BaseException] = []
    over = threading.Event()
    subscribe(connection, connection.Signals.DISCONNECTED, lambda reason: (reasons.append(reason), over.set()))
    connection.connect()
    far.sendall(LINES + b"x\n" + LINES)
    assert over.wait(PATIENCE)
    assert isinstance(reasons[0], ProtocolError)
    assert connection.traffic.messages_received <= MANY + MESSAGES_AT_ONCE
    connection.teardown()
    far.close()
