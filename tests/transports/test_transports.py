"""Tests of transports by themselves: the five verbs, waking, and calls that nothing can interrupt."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cnx.deadline import Deadline
from cnx.errors import Cancelled, ConnectionLost, PeerClosed, TimedOut
from cnx.testing import PtyPeer
from cnx.transports.datagrams import open_udp
from cnx.transports.detached import call_detached
from cnx.transports.resolver import resolve, shown
from cnx.transports.serial_ports import open_serial
from cnx.transports.sockets import SocketTransport
from cnx.transports.transport import Transport

PATIENCE = 10.0


@contextmanager
def socket_transport() -> Iterator[tuple[Transport, Callable[[bytes], None], Callable[[int], bytes]]]:
    """Give one over a socketpair, and what its peer sends and receives with."""
    near, far = socket.socketpair()
    far.settimeout(PATIENCE)
    transport = SocketTransport(near, "pair")
    with far:
        yield transport, far.sendall, far.recv
        transport.shutdown()
        transport.close()


@contextmanager
def serial_transport() -> Iterator[tuple[Transport, Callable[[bytes], None], Callable[[int], bytes]]]:
    """Give one over a pty."""
    peer = PtyPeer()
    transport = open_serial(peer.port, {}, Deadline(PATIENCE))
    yield transport, peer.sendall, peer.recv
    transport.shutdown()
    transport.close()
    peer.close()


@contextmanager
def udp_transport() -> Iterator[tuple[Transport, Callable[[bytes], None], Callable[[int], bytes]]]:
    """Give one over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(PATIENCE)
        transport = open_udp("127.0.0.1", peer.getsockname()[1], None, Deadline(PATIENCE))
        peer.connect(transport.socket.getsockname())
        yield transport, peer.sendall, peer.recv
        transport.shutdown()
        transport.close()


@contextmanager
def loop_transport() -> Iterator[tuple[Transport, Callable[[bytes], None], Callable[[int], bytes]]]:
    """Give one without a descriptor; what it is given comes back."""
    transport = open_serial("loop://", {}, Deadline(PATIENCE))
    yield transport, lambda data: transport.port.write(data), lambda size: transport.port.read(size)
    transport.shutdown()
    transport.close()


KINDS = [socket_transport, serial_transport, udp_transport, loop_transport]
WITH_DESCRIPTOR = KINDS[:3]


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_go_both_ways(kind: Any) -> None:
    """Whatever the transport."""
    with kind() as (transport, send, receive):
        assert transport.write(b"out", PATIENCE) == 3
        assert receive(3) == b"out"
        send(b"in")
        data = transport.read(100, PATIENCE)
        while len(data) < 2:
            data += transport.read(100, PATIENCE)
        assert data == b"in"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timeout", [0, 0.0, 0.01])
def test_silence_is_a_timeout(kind: Any, timeout: float) -> None:
    """Also when nothing may be waited for at all; the next read is as good as before."""
    with kind() as (transport, send, _):
        with pytest.raises(TimedOut, match="nothing arrived from"):
            transport.read(10, timeout)
        send(b"x")
        assert transport.read(10, PATIENCE) == b"x"


@pytest.mark.parametrize("kind", WITH_DESCRIPTOR)
def test_reading_what_is_there(kind: Any) -> None:
    """Without waiting; ``None`` where there is nothing."""
    with kind() as (transport, send, _):
        assert transport.read_now(10) is None
        send(b"abc")
        assert transport.read(1 if transport.full else 10, PATIENCE)[:1] == b"a"
        if transport.full:  # a stream
            assert transport.read_now(10) == b"bc"
        assert transport.read_now(10) is None


@pytest.mark.parametrize("kind", KINDS)
def test_shutdown_wakes_a_reader_for_ever(kind: Any) -> None:
    """From another thread, as often as one likes."""
    with kind() as (transport, _, _receive):
        outcome: list[BaseException] = []
        begun = threading.Event()

        def read() -> None:
            begun.set()
            try:
                transport.read(10, None)
            except Exception as error:
                outcome.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        begun.wait(PATIENCE)
        transport.shutdown()
        transport.shutdown()
        reader.join(PATIENCE)
        assert isinstance(outcome[0], ConnectionLost)
        assert not isinstance(outcome[0], PeerClosed)
        with pytest.raises(ConnectionLost):
            transport.read(10, None)


@pytest.mark.parametrize("kind", [socket_transport, serial_transport])
def test_shutdown_wakes_a_writer(kind: Any) -> None:
    """One whose peer takes nothing."""
    with kind() as (transport, _, _receive):
        outcome: list[Any] = []
        begun = threading.Event()

        def write() -> None:
            begun.set()
            try:
                outcome.append(transport.write(bytes(30_000_000), None))
            except ConnectionLost as error:
                outcome.append(error)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        begun.wait(PATIENCE)
        transport.shutdown()
        writer.join(PATIENCE)
        assert isinstance(outcome[0], ConnectionLost) or outcome[0] < 30_000_000


@pytest.mark.parametrize("kind", [socket_transport, serial_transport])
def test_write_tells_how_much_went_out(kind: Any) -> None:
    """When time is up; after that nothing more goes out."""
    with kind() as (transport, _, _receive):
        sent = transport.write(bytes(30_000_000), 0.05)
        assert 0 < sent < 30_000_000
        while transport.write(b"x", 0.01):
            pass
        assert transport.write(b"x" * 100, 0) == 0


def test_orderly_end_of_a_socket() -> None:
    """Is told each time again."""
    with socket_transport() as (transport, send, _):
        send(b"last")
        transport.socket.shutdown(socket.SHUT_RD)
        assert transport.read(10, PATIENCE) == b"last"
        for _ in range(2):
            with pytest.raises(PeerClosed):
                transport.read(10, PATIENCE)
            with pytest.raises(PeerClosed):
                transport.read_now(10)


def test_peer_that_the_system_gave_up_on_is_lost() -> None:
    """TCP_USER_TIMEOUT and keepalive are told once, as an error; that is neither silence nor an orderly end."""

    class GivenUp(socket.socket):
        def recv(self, *arguments: Any) -> bytes:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

        send = recv

    near, far = socket.socketpair()
    with far:
        far.sendall(b"x")  # so that the socket is readable, as it is with an error
        transport = SocketTransport(GivenUp(fileno=near.detach()), "far")
        for call in (
            transport.read_now,
            lambda size: transport.read(size, 1.0),
            lambda size: transport.write(b"x", 1.0),
        ):
            with pytest.raises(ConnectionLost, match="timed out") as caught:
                call(10)
            assert not isinstance(caught.value, PeerClosed)
        transport.close()


def test_port_that_was_cleared_meanwhile_is_not_gone() -> None:
    """Input that somebody discards between the news and the reading is no lost device."""
    with serial_transport() as (transport, send, _):
        original, cleared = transport._read, []

        def read_after_clearing(size: int) -> bytes:
            if not cleared:
                cleared.append(transport.port.reset_input_buffer())
                threading.Timer(0.02, send, [b"next"]).start()
            return bytes(original(size))

        send(b"lost")
        transport._read = read_after_clearing
        assert transport.read(10, PATIENCE) == b"next"


def test_descriptors_are_given_back() -> None:
    """All of them."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for kind in KINDS:
        with kind():
            pass
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


def test_transport_with_a_descriptor_has_to_read_at_once() -> None:
    """The error says what is missing."""

    class Own(Transport):
        """A transport that forgot something."""

        address = "own"

        def read(self, size: int, timeout: float | None) -> bytes:
            return b""

        def write(self, data: Any, timeout: float | None) -> int:
            return 0

        def shutdown(self) -> None:
            pass

        def close(self) -> None:
            self.closed = True

    own = Own()
    assert own.fileno() == -1
    with pytest.raises(NotImplementedError, match=r"Own has a descriptor, so it must override read_now\(\)"):
        own.read_now(1)
    own.abandon()
    assert own.closed


# -- calls that nothing can interrupt ----------------------------------------------------------------------------------


def test_detached_call_returns_and_raises() -> None:
    """What it would have here."""
    assert call_detached(lambda: 5, "counting", Deadline(PATIENCE)) == 5
    with pytest.raises(ZeroDivisionError):
        call_detached(lambda: 1 / 0, "counting", Deadline(None))


@pytest.mark.parametrize("fails", [False, True])
def test_detached_call_can_be_left(fails: bool) -> None:
    """When the deadline ends; a result that comes too late is discarded, an error forgotten."""
    proceed = threading.Event()
    discarded: list[str] = []
    given_up = threading.Event()

    def slow() -> str:
        proceed.wait(PATIENCE)
        if fails:
            given_up.set()
            raise RuntimeError("too late")
        return "result"

    def discard(result: str) -> None:
        discarded.append(result)
        given_up.set()

    with pytest.raises(TimedOut, match="waiting took longer than"):
        call_detached(slow, "waiting", Deadline(0.02), discard)
    proceed.set()
    assert given_up.wait(PATIENCE)
    assert discarded == ([] if fails else ["result"])


def test_detached_call_is_cancelled_at_once() -> None:
    """Also when it was cancelled before."""
    deadline, proceed = Deadline(PATIENCE), threading.Event()
    threading.Timer(0.02, deadline.cancel).start()
    with pytest.raises(Cancelled):
        call_detached(lambda: proceed.wait(PATIENCE), "waiting", deadline)
    proceed.set()
    with pytest.raises(Cancelled):
        call_detached(lambda: pytest.fail("it was begun"), "waiting", deadline)


def test_numeric_addresses_need_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a name server."""
    monkeypatch.setattr(threading, "Thread", lambda *_, **__: pytest.fail("a thread was made"))
    assert resolve("127.0.0.1", 80, socket.SOCK_STREAM, Deadline(PATIENCE)) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert resolve("::1", 80, socket.SOCK_STREAM, Deadline(PATIENCE)) == [(socket.AF_INET6, ("::1", 80, 0, 0))]


def test_addresses_as_people_write_them() -> None:
    """With brackets where there are colons."""
    assert shown("host", 1) == "host:1"
    assert shown("::1", 1) == "[::1]:1"
