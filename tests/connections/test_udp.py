"""Tests of UDP connections: datagrams in, datagrams out, empty ones too."""

from __future__ import annotations

import array
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cnx import Connection, UdpConnection, subscribe
from cnx.deadline import Deadline
from cnx.errors import ConnectError, ConnectionLost, NotConnected, TimedOut
from cnx.testing import wait_until
from cnx.transports.datagrams import open_udp
from tests.helpers.inside import link_of

PATIENCE = 10.0


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """Give a bound UDP socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        yield sock


@pytest.fixture
def connection(peer: socket.socket) -> Iterator[UdpConnection]:
    """Give a connected connection to the peer, which knows its address."""
    made = UdpConnection("127.0.0.1", peer.getsockname()[1], timeout=PATIENCE)
    with made:
        made.send(b"hello")
        data, address = peer.recvfrom(100)
        assert data == b"hello"
        peer.connect(address)
        yield made
    made.teardown()


def test_datagrams_stay_what_they_are(connection: UdpConnection, peer: socket.socket) -> None:
    """None is cut or joined, empty ones count; both ways."""
    sent = [b"a", b"", b"bc", b"x" * 65507, b""]
    for datagram in sent:
        peer.send(datagram)
        assert connection.receive() == datagram
        connection.send(datagram)
        assert peer.recv(70000) == datagram


def test_datagrams_wait_until_they_are_received(connection: UdpConnection, peer: socket.socket) -> None:
    """Each for itself, in order."""
    for datagram in (b"a", b"", b"bc"):
        peer.send(datagram)
    assert [connection.receive() for _ in range(3)] == [b"a", b"", b"bc"]
    with pytest.raises(TimedOut):
        connection.receive(timeout=0.02)


def test_subscribers_get_each_datagram(connection: UdpConnection, peer: socket.socket) -> None:
    """As data and as a message; empty ones, too."""
    told: list[Any] = []
    complete = threading.Event()

    def on_message(message: bytes) -> None:
        told.append(("message", message))
        if message == b"last":
            complete.set()

    subscribe(connection, Connection.Signals.DATA_RECEIVED, lambda data: told.append(("data", data)))
    subscribe(connection, Connection.Signals.MESSAGE_RECEIVED, on_message)
    for datagram in (b"a", b"", b"last"):
        peer.send(datagram)
    assert complete.wait(PATIENCE)
    assert told == [(kind, datagram) for datagram in (b"a", b"", b"last") for kind in ("data", "message")]


def test_datagrams_from_before_a_subscription_are_told_one_by_one(
    connection: UdpConnection, peer: socket.socket
) -> None:
    """What waits is not joined."""
    told: list[bytes] = []
    complete = threading.Event()

    def on_data(data: bytes) -> None:
        told.append(data)
        if data == b"last":
            complete.set()

    for datagram in (b"a", b"", b"last"):
        peer.send(datagram)
    subscribe(connection, Connection.Signals.DATA_RECEIVED, on_data)
    assert complete.wait(PATIENCE)
    assert told == [b"a", b"", b"last"]


def test_all_kinds_of_bytes_can_be_sent(connection: UdpConnection, peer: socket.socket) -> None:
    """``write`` is another name for it."""
    connection.write(bytearray(b"ab"))
    connection.send(memoryview(b"abcd")[::2])
    connection.send(memoryview(array.array("H", [1])))
    assert [peer.recv(100) for _ in range(3)] == [b"ab", b"ac", array.array("H", [1]).tobytes()]


@pytest.mark.parametrize(
    ("datagram", "error"),
    [("text", TypeError), (5, TypeError), (None, TypeError), (bytes(65508), ValueError)],
    ids=["text", "number", "nothing", "too large"],
)
def test_what_is_no_datagram_is_refused(
    connection: UdpConnection, peer: socket.socket, datagram: Any, error: type[Exception]
) -> None:
    """The link goes on."""
    with pytest.raises(error):
        connection.send(datagram)
    connection.send(b"next")
    assert peer.recv(100) == b"next"


def test_nobody_there_is_borne() -> None:
    """What the peer's host answers to that is no loss: when the peer comes, it gets what is sent then."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with UdpConnection("127.0.0.1", port, timeout=PATIENCE) as connection:
        for _ in range(20):
            connection.send(b"anybody?")
        with pytest.raises(TimedOut):
            connection.receive(timeout=0.02)
        connection.send(b"anybody?")
        subscribe(connection, Connection.Signals.DATA_RECEIVED, lambda data: None)
        connection.send(b"anybody?")
        assert connection.connected
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", port))
            sock.settimeout(PATIENCE)
            connection.send(b"now")
            data, address = sock.recvfrom(100)
            assert data == b"now"
            sock.sendto(b"yes", address)
            assert connection.receive() == b"yes"
        assert connection.connected


def test_ipv6() -> None:
    """By its address in brackets, for people."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.bind(("::1", 0))
        peer.settimeout(PATIENCE)
        with UdpConnection("::1", peer.getsockname()[1]) as connection:
            connection.send(b"six")
            assert peer.recv(100) == b"six"
            assert connection.address.startswith("[::1]:")


def test_local_address(peer: socket.socket) -> None:
    """It is what the peer sees; one that is not here is an error with the reason."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with UdpConnection("127.0.0.1", peer.getsockname()[1], local=("127.0.0.1", port)) as connection:
        connection.send(b"a")
        assert peer.recvfrom(100)[1] == ("127.0.0.1", port)
    with pytest.raises(ConnectError, match=r"cannot open UDP to .* from .*Cannot assign"):
        UdpConnection("127.0.0.1", 1, local=("192.0.2.1", 0)).connect()


def test_disconnect_ends_waiting(connection: UdpConnection) -> None:
    """With the reason; afterwards nothing can be sent."""
    threading.Timer(0.05, connection.disconnect).start()
    with pytest.raises(ConnectionError, match=r"disconnect\(\)"):
        connection.receive()
    with pytest.raises((NotConnected, ConnectionLost)):
        connection.send(b"a")


def test_datagrams_that_nobody_takes_do_not_fill_memory(peer: socket.socket) -> None:
    """They wait in the system, which drops what does not fit."""
    with UdpConnection("127.0.0.1", peer.getsockname()[1], limit=1000, timeout=PATIENCE) as connection:
        connection.send(b"hello")
        peer.connect(peer.recvfrom(100)[1])
        for number in range(5000):
            peer.send(b"%04d" % number * 25)
        link = link_of(connection)
        wait_until(lambda: link.inbox.size < 2000, "bounded")
        first = connection.receive()
        assert first == b"0000" * 25


def test_counters(connection: UdpConnection, peer: socket.socket) -> None:
    """Bytes and datagrams."""
    peer.send(b"abc")
    connection.receive()
    assert connection.traffic.bytes_received == 3
    assert connection.traffic.bytes_sent == 5
    assert connection.traffic.messages_sent == 1


@pytest.mark.parametrize(
    "local",
    [("127.0.0.1",), ["127.0.0.1", 1], ("127.0.0.1", "1"), (1, 1), "127.0.0.1:1", ("", 70000), ("a b", 1)],
    ids=repr,
)
def test_bad_local_address_is_refused(local: Any) -> None:
    """At the call."""
    with pytest.raises((ValueError, TypeError), match="local"):
        UdpConnection("host", 1, local=local)


def test_unknown_name_and_bad_arguments() -> None:
    """As with sockets."""
    with pytest.raises(ConnectError, match="check the name"):
        open_udp("no.such.host.invalid", 1, None, Deadline(PATIENCE))
    with pytest.raises(ValueError, match="port"):
        UdpConnection("host", 70000)
    with pytest.raises(TypeError, match="terminator"):
        UdpConnection("host", 1, terminator=b"\n")
