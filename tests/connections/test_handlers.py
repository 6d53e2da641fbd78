"""Tests of handlers that do what handlers do: raise, take their time, subscribe, unsubscribe, stop everything."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from pydispatch import dispatcher

from cnx import Connection, ConnectionManager, Delimited, JsonLines, SocketConnection, Subscription, TornDown, subscribe
from cnx.errors import InvalidJson
from cnx.simulation import Session, Simulator
from cnx.testing import PATIENCE, connection_pair, wait_until

SIGNALS = Connection.Signals


def test_handler_that_raises_is_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """The other handlers get the signal, and the listener lives."""
    told: list[bytes] = []

    def clumsy(data: bytes) -> None:
        raise ValueError("oh no")

    with connection_pair() as (connection, peer):
        subscribe(connection, SIGNALS.DATA_RECEIVED, clumsy)
        subscribe(connection, SIGNALS.DATA_RECEIVED, told.append)
        for piece in (b"1", b"2"):
            peer.sendall(piece)
            wait_until(lambda piece=piece: told[-1:] == [piece], "the data")  # type: ignore[misc]
    assert "clumsy" in caplog.text
    assert "oh no" in caplog.text


def test_handler_that_unsubscribes_itself() -> None:
    """It gets no more, not even from the same batch, and no other handler is skipped."""
    first: list[bytes] = []
    other: list[bytes] = []
    with connection_pair(framing=Delimited(b"\n")) as (connection, peer):

        def once(message: bytes) -> None:
            first.append(message)
            subscription.cancel()

        subscription = subscribe(connection, SIGNALS.MESSAGE_RECEIVED, once)
        subscribe(connection, SIGNALS.MESSAGE_RECEIVED, other.append)
        peer.sendall(b"a\nb\nc\n")
        wait_until(lambda: len(other) == 3, "all messages")
    assert first == [b"a"]
    assert other == [b"a", b"b", b"c"]


def test_handler_that_unsubscribes_before_a_message_that_is_bad() -> None:
    """What is bad in the rest of a piece ends the link at once, although nobody is told of the messages before it."""
    with connection_pair(framing=JsonLines()) as (connection, peer):
        ended = threading.Event()

        def handle(message: object) -> None:
            subscription.cancel()

        subscription = subscribe(connection, SIGNALS.MESSAGE_RECEIVED, handle)
        subscribe(connection, SIGNALS.RAISE_ALARM, ended.set)
        peer.sendall(b"1\r\n2\r\nnone of it\r\n")
        assert ended.wait(PATIENCE)
        assert isinstance(connection.last_error, InvalidJson)


def test_handler_that_subscribes_another() -> None:
    """The new one gets what comes after."""
    late: list[bytes] = []
    with connection_pair(framing=Delimited(b"\n")) as (connection, peer):
        added: list[Subscription] = []

        def invite(message: bytes) -> None:
            if not added:
                added.append(subscribe(connection, SIGNALS.MESSAGE_RECEIVED, late.append))

        subscribe(connection, SIGNALS.MESSAGE_RECEIVED, invite)
        peer.sendall(b"a\n")
        wait_until(lambda: bool(added), "the first message")
        peer.sendall(b"b\nc\n")
        wait_until(lambda: late[-1:] == [b"c"], "the others")
    assert b"b" in late


def test_handler_that_is_told_what_was_kept_may_bring_another_in_for_what_comes_next() -> None:
    """Also one that subscribes by PyDispatcher, which tells nobody of it."""
    got: list[bytes] = []

    def take(data: bytes) -> None:
        got.append(data)

    def bring(data: bytes) -> None:
        dispatcher.connect(take, signal=SIGNALS.DATA_RECEIVED, sender=connection, weak=False)
        dispatcher.disconnect(bring, signal=SIGNALS.DATA_RECEIVED, sender=connection, weak=False)

    with connection_pair() as (connection, peer):
        peer.sendall(b"abcdef")
        assert connection.readexactly(3) == b"abc"
        dispatcher.connect(bring, signal=SIGNALS.DATA_RECEIVED, sender=connection, weak=False)
        peer.sendall(b"ghi")
        assert connection.readexactly(6, timeout=PATIENCE) == b"defghi"
        wait_until(lambda: b"".join(got) == b"ghi", "the other handler")
        dispatcher.disconnect(take, signal=SIGNALS.DATA_RECEIVED, sender=connection, weak=False)


def test_slow_handler_holds_up_only_its_own_connection() -> None:
    """While a handler takes its time, its connection can still be written to and stopped."""
    entered, leave = threading.Event(), threading.Event()
    told: list[BaseException] = []

    def slow(data: bytes) -> None:
        entered.set()
        leave.wait(PATIENCE)

    with connection_pair() as (connection, peer):
        subscribe(connection, SIGNALS.DATA_RECEIVED, slow)
        subscribe(connection, SIGNALS.DISCONNECTED, told.append)
        peer.sendall(b"!")
        assert entered.wait(PATIENCE)
        connection.write(b"still here")
        assert peer.recv(100) == b"still here"
        connection.disconnect()
        assert not connection.connected
        assert not told
        leave.set()
        wait_until(lambda: len(told) == 1, "the end, after the data")


@pytest.mark.parametrize("stop", [SocketConnection.disconnect, SocketConnection.teardown])
def test_handler_that_stops_its_connection(stop: Callable[[SocketConnection], None]) -> None:
    """What else came with the same bytes is not told, and the end is, once, after the handler has returned."""
    story: list[str] = []
    with connection_pair(framing=Delimited(b"\n")) as (connection, peer):

        def enough(message: bytes) -> None:
            stop(connection)
            story.append(message.decode())

        subscribe(connection, SIGNALS.MESSAGE_RECEIVED, enough)
        subscribe(connection, SIGNALS.DISCONNECTED, lambda reason: story.append("end"))
        peer.sendall(b"a\nb\nc\n")
        wait_until(lambda: story[-1:] == ["end"], "the end")
    assert story == ["a", "end"]


def test_handler_of_connected_that_disconnects() -> None:
    """The attempt has not led to a connection then; both signals are told, in order."""
    near, far = socket.socketpair()
    story: list[str] = []
    with far:
        connection = SocketConnection.from_socket(near)
        subscribe(connection, SIGNALS.CONNECTED, lambda: (story.append("connected"), connection.disconnect()))
        subscribe(connection, SIGNALS.DISCONNECTED, lambda: story.append("disconnected"))
        assert not connection.try_connect()
        wait_until(lambda: len(story) == 2, "both signals")
    assert story == ["connected", "disconnected"]


class Silent(Simulator):
    """Says nothing."""

    def serve(self, session: Session) -> None:
        """Wait for the end."""
        while session.read():
            pass


@pytest.mark.parametrize("command", ["disconnect", "teardown"])
@pytest.mark.parametrize("state", ["connecting", "connected", "recovering"])
def test_handler_of_a_change_that_stops_the_manager(state: str, command: str) -> None:
    """In whatever state it is told, the manager ends where the handler wants it, and nothing is left."""
    with Silent() as server:
        connection = SocketConnection("127.0.0.1", int(server.listen_tcp().rpartition(":")[2]))
        manager = ConnectionManager(connection)
        stopped = threading.Event()

        def on_change(new: Any) -> None:
            if new.value == state and not stopped.is_set():
                getattr(manager, command)()
                stopped.set()

        subscribe(manager, manager.Signals.STATE_CHANGED, on_change)
        with suppress(TornDown):  # the handler may be faster than the call that made it run
            manager.connect(wait=False)
        if state == "recovering":
            wait_until(lambda: connection.connected, "the connection")
            server.kill()
        assert stopped.wait(PATIENCE)
        manager.wait_until("disconnected" if command == "disconnect" else "torndown", PATIENCE)
        manager.teardown()


def test_eight_threads_subscribe_during_a_hundred_thousand_signals() -> None:
    """Whoever is subscribed all the time misses nothing, whatever others do meanwhile."""
    count = 100_000
    told: list[bytes] = []
    stop = threading.Event()
    troubles: list[BaseException] = []
    with connection_pair(framing=Delimited(b"\n")) as (connection, peer):

        def come_and_go() -> None:
            try:
                while not stop.is_set():
                    with subscribe(connection, SIGNALS.MESSAGE_RECEIVED, lambda message: None):
                        pass
            except BaseException as error:
                troubles.append(error)

        subscribe(connection, SIGNALS.MESSAGE_RECEIVED, told.append)
        threads = [threading.Thread(target=come_and_go) for _ in range(8)]
        for thread in threads:
            thread.start()
        for start in range(0, count, 1000):
            peer.sendall(b"".join(b"%d\n" % number for number in range(start, start + 1000)))
        wait_until(lambda: len(told) >= count, "all messages")
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not troubles
    assert told == [b"%d" % number for number in range(count)]


def test_plain_subscribers_before_and_after_connecting() -> None:
    """``dispatcher.connect`` is all it takes, at any time, also when bytes wait or a reading method was used."""
    near, far = socket.socketpair()
    told: dict[str, bytes] = {"before": b"", "after": b""}

    def before(data: bytes) -> None:
        told["before"] += data

    def after(data: bytes, sender: object) -> None:
        assert sender is connection
        told["after"] += data

    with far:
        connection = SocketConnection.from_socket(near)
        with connection:
            far.sendall(b"early ")
            assert connection.read(6, timeout=PATIENCE) == b"early "
            far.sendall(b"unread ")
            dispatcher.connect(before, signal=SIGNALS.DATA_RECEIVED, sender=connection)
            wait_until(lambda: told["before"] == b"unread ", "what waited")
            dispatcher.connect(after, signal=SIGNALS.DATA_RECEIVED)
            far.sendall(b"late")
            wait_until(lambda: told["after"] == b"late", "what came later")
        assert told["before"] == b"unread late"


@pytest.mark.parametrize("framing", [None, Delimited()])
def test_plain_subscriber_that_comes_back(framing: Delimited | None) -> None:
    """Who was taken out of the plan that was being told is told again after subscribing anew."""
    told: list[bytes] = []

    def plain(data: bytes) -> None:
        told.append(data)

    with connection_pair(framing=framing) as (connection, peer):
        dispatcher.connect(plain, signal=SIGNALS.DATA_RECEIVED, sender=connection)
        peer.sendall(b"a\r\n")
        wait_until(lambda: len(told) == 1, "the data")
        dispatcher.disconnect(plain, signal=SIGNALS.DATA_RECEIVED, sender=connection)
        with subscribe(connection, SIGNALS.DATA_RECEIVED, lambda data: None):
            dispatcher.connect(plain, signal=SIGNALS.DATA_RECEIVED, sender=connection)
        peer.sendall(b"b\r\n")
        wait_until(lambda: told == [b"a\r\n", b"b\r\n"], "what came after that")


def test_handlers_log_nothing_when_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    """No warning, no error."""
    caplog.set_level(logging.WARNING)
    with connection_pair() as (connection, peer):
        told: list[bytes] = []
        subscribe(connection, SIGNALS.DATA_RECEIVED, told.append)
        peer.sendall(b"fine")
        wait_until(lambda: told == [b"fine"], "the data")
    assert not caplog.records
