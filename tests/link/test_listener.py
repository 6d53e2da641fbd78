"""The threads that attend to links: alone or shared, on every kind of watch, and never awake without a reason."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from pydispatch import dispatcher

from cnx import Connection, ConnectionLost, Listener, NotConnected, SocketConnection, subscribe
from cnx.connections.sockets import AdoptedSocket
from cnx.deadline import Deadline
from cnx.link.selector import EpollSelector, PollSelector, Selector
from cnx.testing import PATIENCE, NewThreads, connection_pair, wait_until
from cnx.transports.sockets import SocketTransport
from tests.helpers.inside import link_of
from tests.helpers.processes import PROCESS_PATIENCE

DATA = Connection.Signals.DATA_RECEIVED


@pytest.fixture(params=[EpollSelector, PollSelector])
def watches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Selector]]:
    """Have listeners use one kind of watch that counts how often it returned; give those that were made."""
    kind: Any = request.param
    made: list[Selector] = []

    class Counting(kind):  # type: ignore[misc]
        returns = 0

        def wait(self, timeout: float | None) -> list[tuple[int, bool]]:
            found: list[tuple[int, bool]] = super().wait(timeout)
            self.returns += 1
            return found

    def make() -> Selector:
        made.append(Counting())
        return made[-1]

    monkeypatch.setattr("cnx.link.listener.new_selector", make)
    return made


class Ear:
    """Keeps what it hears; a plain handler, held weakly by PyDispatcher."""

    def __init__(self) -> None:
        self.heard = bytearray()

    def on_data(self, data: bytes) -> None:
        """Hear."""
        self.heard += data

    def expect(self, data: bytes) -> None:
        """Wait until just ``data`` was heard."""
        wait_until(lambda: len(self.heard) >= len(data), f"{data!r}")
        assert bytes(self.heard) == data
        self.heard.clear()


def settled_returns(watches: list[Selector]) -> int:
    """Return how often the watch returned, once it does so no more."""
    counts: list[int] = [-1]

    def quiet() -> bool:
        counts.append(watches[-1].returns)  # type: ignore[attr-defined]
        return len(counts) > 60 and len(set(counts[-60:])) == 1

    wait_until(quiet, "a listener that sleeps")
    return counts[-1]


def nothing(connection: SocketConnection, peer: socket.socket) -> bytes:
    """Nothing happened yet."""
    return b""


def unread(connection: SocketConnection, peer: socket.socket) -> bytes:
    """Input waits that nobody wanted."""
    peer.sendall(b"waiting ")
    return b"waiting "


def after_reading(connection: SocketConnection, peer: socket.socket) -> bytes:
    """A reading method was used, and took everything."""
    peer.sendall(b"12345")
    assert connection.readexactly(5, timeout=PATIENCE) == b"12345"
    return b""


def after_a_timeout(connection: SocketConnection, peer: socket.socket) -> bytes:
    """A reading method waited in vain, and left a part."""
    peer.sendall(b"part ")
    with pytest.raises(TimeoutError):
        connection.readexactly(100, timeout=0.05)
    return b"part "


def unsubscribed(connection: SocketConnection, peer: socket.socket) -> bytes:
    """Somebody else was subscribed before."""
    ear = Ear()
    with subscribe(connection, DATA, ear.on_data):
        peer.sendall(b"gone")
        ear.expect(b"gone")
    return b""


@pytest.mark.parametrize("situation", [nothing, unread, after_reading, after_a_timeout, unsubscribed])
def test_late_plain_subscriber_is_found(situation: Any, watches: list[Selector]) -> None:
    """``dispatcher.connect``, of which nobody is told, hears what comes next, after what had come before."""
    with connection_pair() as (connection, peer):
        kept = situation(connection, peer)
        ear = Ear()
        dispatcher.connect(ear.on_data, signal=DATA, sender=connection)
        peer.sendall(b"news")
        ear.expect(kept + b"news")


def test_full_buffer_is_emptied_by_a_late_subscriber(watches: list[Selector]) -> None:
    """What the peer could not get rid of comes, whole and in order."""
    data = bytes(range(256)) * 4096
    with connection_pair(limit=1000) as (connection, peer):
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        ear = Ear()
        dispatcher.connect(ear.on_data, signal=DATA, sender=connection)
        ear.expect(data)
        sender.join(PATIENCE)


@pytest.mark.parametrize("situation", [nothing, after_reading, unsubscribed])
def test_idle_listener_sleeps(situation: Any, watches: list[Selector]) -> None:
    """Without input its watch does not return; one piece of input makes it return only a few times."""
    with connection_pair() as (connection, peer):
        situation(connection, peer)
        ear = Ear()
        dispatcher.connect(ear.on_data, signal=DATA, sender=connection)
        before = settled_returns(watches)
        peer.sendall(b"one")
        ear.expect(b"one")
        assert settled_returns(watches) - before <= 4


def test_one_thread_serves_many(watches: list[Selector], new_threads: NewThreads) -> None:
    """A hundred connections share a thread, each hears its own peer, and the thread ends with the last of them."""
    listener = Listener("of the test")
    with ExitStack() as stack:
        pairs = [stack.enter_context(connection_pair(listener=listener)) for _ in range(100)]
        ears = [Ear() for _ in pairs]
        for (connection, _), ear in zip(pairs, ears, strict=True):
            subscribe(connection, DATA, ear.on_data)
        for number, (_, peer) in enumerate(pairs):
            peer.sendall(b"%d" % number)
        for number, ear in enumerate(ears):
            ear.expect(b"%d" % number)
        assert len(watches) == 1
        assert [thread.name for thread in new_threads("cnx listener")] == ["cnx listener of the test"]
        for connection, _ in pairs[1:]:
            connection.disconnect()
        pairs[0][1].sendall(b"still here")
        ears[0].expect(b"still here")
    assert "0 links" in repr(listener)


def test_shared_thread_begins_again(watches: list[Selector]) -> None:
    """A listener that has ended starts anew with the next connection, however often and from whatever thread."""
    listener = Listener()

    def come_and_go() -> None:
        for number in range(25):
            with connection_pair(listener=listener) as (connection, peer):
                peer.sendall(b"%02d" % number)
                assert connection.readexactly(2, timeout=PATIENCE) == b"%02d" % number

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
        assert not thread.is_alive()


def test_nobody_waits_for_a_thread_that_goes_on() -> None:
    """Who waits for the end of a shared thread stops waiting as soon as it has a new link to attend to."""
    listener = Listener()
    telling, go_on = threading.Event(), threading.Event()
    with connection_pair(listener=listener) as (one, its_peer):
        subscribe(one, Connection.Signals.DISCONNECTED, lambda reason: (telling.set(), go_on.wait(PATIENCE)))
        its_peer.close()
        assert telling.wait(PATIENCE)  # it has no links, and is not at its end
        waiting = threading.Thread(target=listener.join, args=(3 * PATIENCE,))
        waiting.start()
        wait_until(lambda: listener._changed.gates, "a thread that waits")
        with connection_pair(listener=listener):
            waiting.join(PATIENCE)
            ended = not waiting.is_alive()
            go_on.set()
        assert ended
        waiting.join(3 * PATIENCE)


def test_flood_leaves_others_their_turn(watches: list[Selector]) -> None:
    """While one peer sends without end, another one of the same thread is heard, and timers run."""
    listener = Listener()
    with (
        connection_pair(listener=listener) as (flooded, source),
        connection_pair(listener=listener) as (other, peer),
    ):
        ticks = threading.Semaphore(0)
        subscribe(flooded, DATA, len)
        ear = Ear()
        subscribe(other, DATA, ear.on_data)

        def flood() -> None:
            with suppress(OSError):  # the end
                while True:
                    source.sendall(bytes(1 << 20))

        thread = threading.Thread(target=flood)
        thread.start()
        flooded.schedule(0.001, ticks.release)
        for _ in range(20):
            assert ticks.acquire(timeout=PATIENCE)
        peer.sendall(b"me too")
        ear.expect(b"me too")
        flooded.disconnect()
        thread.join(PATIENCE)


def leave() -> None:
    """Raise what ends a thread."""
    raise SystemExit


def test_handler_that_exits_ends_its_own_link_only(watches: list[Selector]) -> None:
    """``sys.exit()`` in a handler is the loss of that link; the thread, and the others on it, go on."""
    listener = Listener()
    with connection_pair(listener=listener) as (one, its_peer), connection_pair(listener=listener) as (other, peer):
        lost = threading.Event()
        reasons: list[BaseException] = []
        subscribe(one, Connection.Signals.DISCONNECTED, lambda reason: (reasons.append(reason), lost.set()))
        subscribe(one, DATA, lambda data: leave())
        its_peer.sendall(b"!")
        assert lost.wait(PATIENCE)
        assert isinstance(reasons[0], ConnectionLost)
        ear = Ear()
        subscribe(other, DATA, ear.on_data)
        peer.sendall(b"alive")
        ear.expect(b"alive")


def test_timer_repeats_until_it_is_cancelled() -> None:
    """What is scheduled runs on a thread of its own, survives its own errors, and ends with ``cancel``."""
    with connection_pair() as (connection, _):
        ran: list[str] = []
        enough = threading.Event()

        def tick() -> None:
            ran.append(threading.current_thread().name)
            if len(ran) == 5:
                timer.cancel()
                enough.set()
            leave()

        timer = connection.schedule(0.001, tick)
        assert enough.wait(PATIENCE)
        after = threading.Event()
        connection.schedule(0.005, after.set)
        assert after.wait(PATIENCE)
        assert len(ran) == 5
        assert set(ran) == {f"cnx timers {connection.address}"}


def test_timer_ends_with_the_link() -> None:
    """Nothing runs for a link that has ended, and nothing can be scheduled without one."""
    with connection_pair() as (connection, _):
        timer = connection.schedule(0.001, lambda: None)
        connection.disconnect()
        assert not timer.run()
        with pytest.raises(NotConnected):
            connection.schedule(1.0, lambda: None)


@pytest.mark.parametrize(
    ("interval", "callback", "error"),
    [
        (0, print, ValueError),
        (-1, print, ValueError),
        (None, print, ValueError),
        (float("inf"), print, ValueError),
        ("1", print, TypeError),
        (1, None, TypeError),
    ],
)
def test_what_cannot_be_scheduled_is_refused(interval: Any, callback: Any, error: type[Exception]) -> None:
    """At the call, and not on the thread that would do it."""
    with connection_pair() as (connection, _), pytest.raises(error, match=r"interval|callback"):
        connection.schedule(interval, callback)


def test_subscribing_without_end_costs_no_memory(watches: list[Selector]) -> None:
    """Thousands of subscriptions while input waits leave one look in the queue, not thousands, also after the link."""
    listener = Listener()
    with connection_pair(listener=listener) as (connection, peer):
        peer.sendall(b"unread")
        for _ in range(2000):
            subscribe(connection, Connection.Signals.MESSAGE_RECEIVED, print).cancel()
        wait_until(lambda: len(listener._poked) == 0, "the listener")
        assert len(listener._timers._heap) + len(listener._timers._added) <= 2
        connection.disconnect()
        for _ in range(2000):
            subscribe(connection, DATA, print).cancel()
        assert not listener._poked


def test_thread_that_cannot_start_fails_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread left, connecting fails with that reason, and nothing is left open."""
    near, far = socket.socketpair()
    connection = SocketConnection.from_socket(near)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with far:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            assert not connection.try_connect()
        assert "can't start new thread" in str(connection.last_error)
        far.settimeout(PATIENCE)
        assert far.recv(1) == b""


def test_listener_sleeps_while_an_end_waits_for_a_writer(watches: list[Selector]) -> None:
    """While a write does not return, its link cannot be closed; the thread is not told of its end all the time."""
    inside, go = threading.Event(), threading.Event()

    class StuckTransport(SocketTransport):
        def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
            inside.set()
            assert go.wait(PATIENCE)
            return len(data)

    class StuckConnection(SocketConnection):
        def open_transport(self, deadline: Deadline) -> SocketTransport:
            opener = self._cnx.opener
            assert isinstance(opener, AdoptedSocket)
            return StuckTransport(opener.sock, self.name)

    listener = Listener()
    near, far = socket.socketpair()
    with (
        far,
        StuckConnection.from_socket(near, listener=listener) as stuck,
        connection_pair(listener=listener) as other,
    ):
        ear = Ear()
        for connection in (stuck, other[0]):
            dispatcher.connect(ear.on_data, signal=DATA, sender=connection)
        writing = threading.Thread(target=stuck.write, args=(b"x",))
        writing.start()
        assert inside.wait(PATIENCE)
        stuck.raise_alarm("trouble")
        before = watches[0].returns  # type: ignore[attr-defined]
        for number in range(20):
            other[1].sendall(b"%d" % number)
            ear.expect(b"%d" % number)
        assert watches[0].returns - before < 100  # type: ignore[attr-defined]
        go.set()
        writing.join(PATIENCE)


def test_first_watches_of_two_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each can be woken, although both may have made what wakes the listeners of a process."""
    both = threading.Barrier(2)

    class SocketTogether(socket.socket):
        def detach(self) -> int:
            both.wait(PATIENCE)
            made.append(super().detach())
            return made[-1]

    made: list[int] = []
    watches: list[EpollSelector] = []
    monkeypatch.setattr(EpollSelector, "_kept", (-1, (0, 0)))
    monkeypatch.setattr("cnx.link.selector.socket.socket", SocketTogether)
    threads = [threading.Thread(target=lambda: watches.append(EpollSelector())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for watch in watches:
        watch.poke()
        assert [fd for fd, _ in watch.wait(PATIENCE)] == [watch._ready]
        watch.close()
    assert len(watches) == len(made) == 2
    for fd in made:
        os.close(fd)


@pytest.mark.parametrize("kind", [EpollSelector, PollSelector])
@pytest.mark.parametrize("error", [OSError(9, "Bad file descriptor"), MemoryError(), SystemExit(3)], ids=repr)
def test_listener_that_cannot_wait_ends_its_links_and_begins_anew(
    kind: Any, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each link ends with that reason, also while a thread reads it; then the listener serves new links."""
    trouble: list[BaseException] = []

    class Failing(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.true_wait, self.wait = self.wait, self.wait_or_fail

        def wait_or_fail(self, timeout: float | None) -> list[tuple[int, int]]:
            found: list[tuple[int, int]] = self.true_wait(timeout)
            if trouble:
                raise trouble[0]
            return found

    monkeypatch.setattr("cnx.link.listener.new_selector", Failing)
    listener = Listener()
    ends: list[BaseException] = []
    failures: list[BaseException] = []
    with connection_pair(listener=listener) as (one, _), connection_pair(listener=listener) as (other, _):

        def read() -> None:
            with pytest.raises(ConnectionLost) as caught:
                one.readexactly(1)
            failures.append(caught.value)

        for connection in (one, other):
            subscribe(connection, Connection.Signals.DISCONNECTED, lambda reason: ends.append(reason))
        reading = threading.Thread(target=read)
        reading.start()
        wait_until(lambda: not link_of(one).reader.is_free(), "the reader")
        trouble.append(error)
        listener.poke(link_of(other))
        reading.join(PATIENCE)
        wait_until(lambda: len(ends) == 2, "the ends")
        assert [end.__cause__ for end in ends] == [error, error]
        assert failures
        trouble.clear()
        with connection_pair(listener=listener) as (third, peer):
            ear = Ear()
            subscribe(third, DATA, ear.on_data)
            peer.sendall(b"alive")
            ear.expect(b"alive")


@pytest.mark.parametrize("reuse", ["nothing", "files", "sockets"])
def test_program_that_closes_all_descriptors(reuse: str) -> None:
    """As a daemon does when it starts: what wakes the listeners is made anew, whatever has its number by then."""
    program = f"""
import os, socket, threading
import cnx
def serve():
    while True:
        peers.append(listening.accept()[0])
        peers[-1].sendall(b"hello")
peers = []
listening = socket.create_server(("127.0.0.1", 0))
port = listening.getsockname()[1]
threading.Thread(target=serve, daemon=True).start()
with cnx.SocketConnection("127.0.0.1", port) as connection:
    connection.readexactly(5, timeout=10)
for fd in map(int, os.listdir("/proc/self/fd")):
    if fd > 2 and fd not in (listening.fileno(), *(peer.fileno() for peer in peers)):
        try:
            os.close(fd)
        except OSError:
            pass
if {reuse!r} == "files":
    kept = [open("/dev/null") for _ in range(16)]
elif {reuse!r} == "sockets":
    kept = [end for _ in range(8) for end in socket.socketpair()]
got = threading.Event()
connection = cnx.SocketConnection("127.0.0.1", port)
cnx.subscribe(connection, connection.Signals.DATA_RECEIVED, lambda data: got.set())
connection.connect()
print(got.wait(10))
connection.disconnect()
print(connection._cnx.link.attendant.ident)
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_PATIENCE, check=False)
    assert done.stdout == "True\n0\n", done.stderr
