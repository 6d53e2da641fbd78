"""Locks: whenever a signal handler raises, they are free afterwards, and are held where they have to be."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from cnx.connections.sockets import SocketConnection
from cnx.errors import TimedOut
from cnx.link.link import Role
from cnx.testing import connection_pair, wait_until
from cnx.threads.locks import Lock, within
from tests.helpers.inside import link_of
from tests.helpers.interrupts import interrupt, strike

PATIENCE = 30.0
INTERRUPTS = 300


class Struck(BaseException):
    """What the handler raises."""


@pytest.fixture
def strike_soon() -> Iterator[Callable[[], None]]:
    """Have the handler of a real signal raise within half a millisecond.

    A signal that comes just before CPython begins to wait for a lock is noticed only after that; so it comes again.
    """

    def raise_it(number: int, frame: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        raise Struck

    before = signal.signal(signal.SIGALRM, raise_it)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.05) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def plainly(lock: Lock) -> None:
    """Take and give back, again and again."""
    while True:
        with lock:
            pass


def with_patience(lock: Lock) -> None:
    """The same with a timeout."""
    while True:
        with within(lock, PATIENCE, "late"):
            pass


@pytest.mark.parametrize("use", [plainly, with_patience])
def test_interrupts_leave_it_free(use: Callable[[Lock], None], strike_soon: Callable[[], None]) -> None:
    """A handler that raises anywhere leaves nothing locked."""
    for _ in range(INTERRUPTS):
        lock = Lock()
        with suppress(Struck):
            strike_soon()
            use(lock)
        assert not lock._is_owned()  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what died just then
def test_interrupts_leave_no_role_behind(strike_soon: Callable[[], None]) -> None:
    """A handler that raises anywhere in reading and writing calls leaves nobody in its role."""

    def exchange(connection: SocketConnection, peer: socket.socket) -> None:
        for _ in range(1000):  # not for ever: a finalizer may swallow what is raised
            connection.write(b"?")
            peer.send(peer.recv(100))
            connection.read(10)
            peer.send(b"12")
            connection.readexactly(1)
            connection.read_waiting()

    for _ in range(INTERRUPTS):
        with connection_pair() as (connection, peer):
            link = link_of(connection)
            with suppress(Struck):
                strike_soon()
                exchange(connection, peer)
            wait_until(lambda link=link: link.reader.is_free() and link.writer.is_free(), "the roles")  # type: ignore[misc]


def test_a_role_is_for_one_thread() -> None:
    """However many threads want a role at once, one has it."""
    role = Role()
    inside, most, taken = 0, 0, 0

    def play() -> None:
        nonlocal inside, most, taken
        inside += 1
        most, taken = max(most, inside), taken + 1
        inside -= 1

    def take() -> None:
        for _ in range(5000):
            role.perform(threading.get_ident(), play)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert most == 1
    assert taken > 0
    assert role.is_free()


def test_interrupted_wait_leaves_it_with_its_owner(strike_soon: Callable[[], None]) -> None:
    """Who waits and is interrupted has not got it, and does not take it from who has."""
    lock, held, over = Lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            assert over.wait(PATIENCE)

    owner = threading.Thread(target=hold)
    owner.start()
    assert held.wait(PATIENCE)
    for wait in (lambda: lock.__enter__(), lambda: within(lock, PATIENCE, "late").__enter__()):
        with pytest.raises(Struck):
            strike_soon()
            wait()
        assert not lock.acquire(blocking=False)
    over.set()
    owner.join(PATIENCE)
    with lock:
        pass


def test_timeout() -> None:
    """What another thread holds is not had in time, and is held no longer than the block."""
    lock, held, over = Lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with within(lock, None, "late"), within(lock, 0.0, "the same thread may"):
            held.set()
            assert over.wait(PATIENCE)

    owner = threading.Thread(target=hold)
    owner.start()
    assert held.wait(PATIENCE)
    with pytest.raises(TimedOut, match="too late for that"), within(lock, 0.01, "too late for that"):
        pytest.fail("it was had")
    over.set()
    owner.join(PATIENCE)
    with pytest.raises(ZeroDivisionError), within(lock, PATIENCE, "late"):
        raise ZeroDivisionError
    assert lock.acquire(blocking=False)
    lock.release()


def test_interrupted_request_leaves_the_turn_to_others() -> None:
    """After Ctrl-C at any point of a request, another thread can make one."""
    at, struck = 0, True
    while struck:
        with connection_pair() as (connection, peer):
            answering = threading.Thread(target=answer, args=(peer,))
            answering.start()
            struck, raised = strike(lambda: connection.request(b"?\r\n", timeout=PATIENCE), interrupt, at)
            assert raised is None or isinstance(raised, KeyboardInterrupt), f"point {at}: {raised!r}"
            assert not connection._cnx.requests._is_owned(), f"point {at}"  # type: ignore[attr-defined]
            connection.disconnect()
            answering.join(PATIENCE)
        at += 1
    assert at > 20


def answer(peer: socket.socket) -> None:
    """Answer every request."""
    with suppress(OSError):
        while peer.recv(100):
            peer.sendall(b"!\r\n")
