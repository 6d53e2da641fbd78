"""Explore the interleavings of a few threads in the core, with a transport and an attendant in memory.

``frontrun`` runs one thread at a time, decides at each bytecode instruction of ``cnx`` which one that is, and goes on
until it has seen every order of conflicting accesses that takes at most two preemptions. It cannot schedule a thread
that waits in the operating system for a socket, a pipe or a selector. So the links here are the real ones, and what is
below them is in memory and waits only in ``threading`` and ``queue``, which the explorer replaces.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import MemberDescriptorType
from typing import Any, NamedTuple, TypeVar

import pytest

from cnx.connections.pieces import Until
from cnx.connections.sockets import SocketConnection
from cnx.errors import ConnectionLost, TimedOut
from cnx.link.inbox import Inbox
from cnx.link.link import Link, Role
from cnx.link.selector import INPUT, NOTHING
from cnx.recording.recorder import Recorder
from cnx.signals import subscriptions
from cnx.threads import condition, locks
from cnx.transports.transport import Transport

__all__ = ["LIMIT", "Bench", "Exploration", "Memory", "Subscriber", "Turns", "explore", "pop_line"]

S = TypeVar("S")

LIMIT = 20_000
"""Interleavings after which a scenario is given up as too large."""

LINK = "cnx/link/link"

SECONDS = 60.0
"""Seconds for one interleaving on a busy machine, after which the explorer reports that it is stuck."""


class Exploration(NamedTuple):
    """What was explored.

    Attributes:
        interleavings: how many were run.
        complete: they are all there are with so many preemptions.
        failure: what broke, and the schedule that breaks it; empty if nothing did.
    """

    interleavings: int
    complete: bool
    failure: str


def explore(
    setup: Callable[[], S],
    *workers: Callable[[S], object],
    holds: Callable[[S], bool],
    among: str = LINK,
    preemptions: int = 2,
) -> Exploration:
    """Run ``workers`` as threads in all their interleavings, each time with a new state from ``setup``.

    Args:
        setup: makes the state.
        workers: each runs on a thread of its own. One that raises, or never ends, is a failure.
        holds: whether the state is right when all have ended.
        among: a pattern of the files between whose instructions threads are switched. Code in other files
            runs in one step: it has no state that threads share, or a lock guards it.
        preemptions: how often a thread is interrupted at most in one interleaving, while it could go on.
    """
    frontrun = pytest.importorskip("frontrun", reason="the extra 'interleavings' is not installed")
    with explorable(among):
        result = frontrun.explore(
            setup,
            list(workers),
            holds,
            preemption_bound=preemptions,
            max_executions=LIMIT,
            detect_io=False,
            clock="virtual",  # time passes when no thread can run, so that a timeout takes none
            timeout_per_run=SECONDS,
            deadlock_timeout=SECONDS,
            reproduce_on_failure=0,
            trace_packages=["cnx.*"],
        )
    failure = "" if result.property_holds else result.explanation or result.inconclusive_reason
    return Exploration(result.num_explored, bool(result.property_holds) and result.num_explored < LIMIT, failure)


class Files:
    """Which files the explorer looks into."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(rf".*/({pattern}|tests/helpers/interleavings|tests/interleavings/\w+)\.py")

    def should_trace_file(self, filename: str) -> bool:
        return self._pattern.fullmatch(filename) is not None


@contextmanager
def explorable(among: str) -> Iterator[None]:
    """Have ``cnx`` make its locks, gates, queues and times such that the explorer knows them."""
    from frontrun import _opcode_observer as observer
    from frontrun._cooperative import CooperativeRLock, patch_locks, unpatch_locks
    from frontrun._dpor_runtime import explore as explorer

    def attribute_of(found: Callable[[Any, str], Any], thing: Any, name: str) -> Any:
        slot = getattr(type(thing), name, None)  # the explorer does not look into slots by itself
        if not isinstance(slot, MemberDescriptorType):
            return found(thing, name)
        return getattr(thing, name, None)

    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "cnx":
                if getattr(module, "Lock", None) is locks.Lock and module is not locks:
                    patch.setattr(module, "Lock", CooperativeRLock)
                if getattr(module, "monotonic", None) is time.monotonic:
                    patch.setattr(module, "monotonic", lambda: time.monotonic())
                if getattr(module, "deque", None) is deque:
                    patch.setattr(module, "deque", Deque)
        patch.setattr(subscriptions, "_tables", CooperativeRLock())
        patch.setattr(condition.Gate, "__init__", begin_gate)
        patch.setattr(Role, "is_free", is_free)
        patch.setattr(observer, "_safe_getattr", partial(attribute_of, observer._safe_getattr))
        patch.setattr(explorer, "_TraceFilter", lambda packages: Files(among))
        patch_locks()
        try:
            yield
        finally:
            unpatch_locks()


class Deque(deque):
    """A deque that the explorer sees being tested for emptiness."""

    def __bool__(self) -> bool:
        return len(self) > 0


def is_free(role: Role) -> bool:
    """Return whether nobody plays a role, in an instruction that the explorer knows to read what ``perform`` writes."""
    try:
        return role._free["role"]
    except KeyError:
        return False


def begin_gate(gate: condition.Gate) -> None:
    """Make the lock of a gate one that the explorer does not take for a deadlock."""
    gate._lock = GateLock()  # type: ignore[assignment]


class GateLock:
    """A lock that one thread takes and another one releases."""

    def __init__(self) -> None:
        self._permits = threading.BoundedSemaphore(1)
        self._permits.acquire()
        self._uses = 0

    def acquire(self, timeout: float = -1) -> bool:
        taken = self._permits.acquire(timeout=None if timeout < 0 else timeout)
        self._uses = 1  # a release conflicts with this even if it finds the gate open and changes nothing
        return taken

    def release(self) -> None:
        self._uses = 1
        try:
            self._permits.release()
        except ValueError:
            raise RuntimeError("release unlocked lock") from None


class Memory(Transport):
    """A transport whose peer is the scenario. Like a socket, it has a descriptor, which nobody polls here.

    Attributes:
        waiting: what has arrived: pieces, and the exception that ends the stream.
        written: what was sent.
        closed: how many times it was closed.
        misused: it was used after that, or closed under a call that used it.
        answers: what is sent comes back.
    """

    address = "memory"
    full = 0

    def __init__(self) -> None:
        self.waiting = Deque()
        self.written: list[bytes] = []
        self.closed = 0
        self.misused = False
        self.answers = False
        self._arrived = GateLock()

    def feed(self, *pieces: bytes | Exception) -> None:
        """Let pieces arrive; an exception ends the stream."""
        for piece in pieces:
            self.waiting.append(piece)
        try:
            self._arrived.release()
        except RuntimeError:
            pass  # more had arrived before

    def read(self, size: int, timeout: float | None) -> bytes:
        while True:
            self._check()
            data = self.read_now(size)
            if data is not None:
                return data
            if timeout == 0.0 or not self._arrived.acquire(-1 if timeout is None else timeout):
                raise TimedOut("nothing arrived")

    def read_now(self, size: int) -> bytes | None:
        self._check()
        try:
            piece = self.waiting.popleft()
        except IndexError:
            return None
        if isinstance(piece, Exception):
            self.waiting.append(piece)  # for the next call
            raise piece
        return piece

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        self._check()
        self.written.append(bytes(data))
        if self.answers:
            self.feed(bytes(data))
        self._check()
        return len(data)

    def shutdown(self) -> None:
        self.feed(ConnectionLost("shut down"))

    def close(self) -> None:
        self.closed += 1

    def fileno(self) -> int:
        return 1 << 20

    def _check(self) -> None:
        if self.closed:
            self.misused = True


def pop_line(inbox: Inbox) -> bytes | None:
    """Take a line, if there is one that was cut, in the one step in which ``readline()`` does it without the lock."""
    try:
        return inbox.lines.popleft()
    except IndexError:
        return inbox.take_line()


class Subscriber:
    """Where a link delivers what arrives.

    Attributes:
        events: what was emitted, in order: pieces, and the reason of the end.
        subscribed: whether it wants what arrives.
    """

    def __init__(self, subscribed: bool) -> None:
        self.events: list[bytes | BaseException | str] = []
        self.subscribed = subscribed
        self.pending = False
        self._added: list[bytes] = []

    def wanted(self) -> bool:
        return self.subscribed

    def add(self, data: bytes) -> None:
        self._added.append(data)
        self.pending = True

    def deliver_more(self) -> None:
        self.events += self._added[:1]
        del self._added[:1]
        self.pending = bool(self._added)

    def stop(self) -> None:
        self._added.clear()
        self.pending = False

    def note_loss(self, reason: BaseException) -> None: ...

    def on_end(self, reason: BaseException) -> None:
        self.events.append(reason)


class Turns:
    """The attendant of one link. It has no thread: the scenario calls :meth:`turn` on one of its own.

    Attributes:
        interest: what the selector would wait for.
        poked: calls of ``poke`` not yet served.
        resting: timers that are set.
    """

    def __init__(self) -> None:
        self.ident = 0
        self.link: Link | None = None
        self.interest = NOTHING
        self.poked = 0
        self.resting = 0
        self.removed = False

    def add(self, link: Link) -> None:
        self.link = link

    def arm(self, link: Link, interest: int) -> None:
        self.interest = interest

    def poke(self, link: Link) -> None:
        self.poked += 1

    def rest(self, link: Link, delay: float) -> None:
        self.resting += 1

    def remove(self, link: Link) -> None:
        self.removed = True

    def join(self, timeout: float) -> None: ...

    def abandon(self) -> None: ...


class Bench:
    """A link over a :class:`Memory`, served by :class:`Turns`.

    Args:
        announced: CONNECTED was emitted.
        subscribed: there are subscribers.
    """

    def __init__(self, *, announced: bool = True, subscribed: bool = True, limit: int = 1 << 16) -> None:
        self.transport = Memory()
        self.subscriber = Subscriber(subscribed)
        self.attendant = Turns()
        self.link = Link(self.transport, self.subscriber, Recorder(0), limit)
        self.link.attendant = self.attendant
        self.attendant.link = self.link
        self.got: list[Any] = []
        if announced:
            self.announce()
            self.quiesce()
            del self.subscriber.events[:]

    def announce(self) -> None:
        self.link.announce(lambda: self.subscriber.events.append("CONNECTED"))

    def readline(self) -> None:
        """Read a line."""
        self.attempt(lambda: self.link.take(Until(b"\n", 1 << 16), 60.0))

    def connection(self) -> SocketConnection:
        """Return a connection that has this link."""
        connection = SocketConnection("127.0.0.1", 1, terminator=b"\n")
        connection._cnx.link = self.link
        return connection

    def attempt(self, call: Callable[[], Any]) -> None:
        """Call; keep the result, or the name of the error, in ``got``."""
        try:
            self.got.append(call())
        except (ConnectionError, TimeoutError) as error:
            self.got.append(type(error).__name__)

    def turn(self) -> None:
        """Do what the thread of the listener does when its selector returns."""
        attendant, link = self.attendant, self.link
        attendant.ident = threading.get_ident()
        if attendant.poked:
            attendant.poked = 0
            link.attend()
        elif attendant.interest == INPUT and self.transport.waiting:
            link.attend(readable=True)
        elif attendant.resting:
            attendant.resting = 0
            link.on_rested()

    def quiesce(self) -> None:
        """Serve the link until nothing is left to do, as time passes."""
        for _ in range(20):
            self.turn()

    def heard(self, piece: bytes) -> bool:
        """Return whether a piece that arrives now is emitted: subscribers are not deaf."""
        self.quiesce()
        self.transport.feed(piece)
        self.quiesce()
        return self.subscriber.events[-1:] == [piece]

    def settled_once(self) -> bool:
        """Return whether the end was settled once, after all use of the transport."""
        self.quiesce()
        return self.transport.closed == 1 and not self.transport.misused and self.attendant.removed
