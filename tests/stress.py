"""All kinds of connections under load and random faults: ``python -m tests.stress --minutes 30 --seed 1``.

Two loads run at once. *Exchanges*: each client asks its simulator, while that misbehaves, and every answer is checked.
*Streams*: over TCP, TLS, unix sockets and serial lines, a peer sends numbered lines as fast as they are taken, to
several reading threads or to a subscriber, and checks the numbered lines of several writing threads; meanwhile links
are killed by the peer, by alarms and by the manager, from any thread. Each line has to arrive once, whole and in order.

Each minute a line tells what happened so far, and what the process holds. At the end every client has to have
recovered, the process has to hold no more threads and descriptors than in the beginning, and the longest stop is
printed, as it was under the load and after it.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import random
import re
import resource
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic

from cnx import (
    Backoff,
    CnxError,
    Connection,
    ConnectionLost,
    ConnectionManager,
    NotConnected,
    StreamConnection,
    connection,
    subscribe,
)
from cnx.connections.connection import STOP_TIMEOUT
from cnx.faults import Fault, accept_close, bandwidth, delay, half_open, merge, refuse, reset, split, truncate, unplug
from cnx.faults.plan import Plan
from cnx.simulation import Session, Simulator
from cnx.testing import PATIENCE, NewThreads, eventually, open_descriptors
from tests.helpers.kinds_of_connections import CLIENT_CONTEXT, SERVER_CONTEXT, THINGS

STREAMS = ("tcp", "tls", "unix", "serial")
"""The kinds of streams."""

BATCH = 50
"""Lines that a peer writes at once."""

LINE = re.compile(rb"\d+ \d+")
"""A numbered line."""

SLACK = 5.0
"""Seconds that a machine may be busy with other things while a stop takes its time."""

TIMEOUT = 0.5
"""Seconds for an answer; a link that gives none is given up, as programs do."""

FAULTS: list[Fault] = [
    *(delay(0.002, jitter=0.01, direction="both"), bandwidth(20000), split(3), split(1, direction="in")),
    *(merge(3, within=0.02), truncate(200), reset(0.05), half_open(0.05), unplug(0.01, seconds=0.1)),
    *(refuse(2), accept_close(2)),
]
"""What delays, cuts and ends, but changes nothing: so every answer that comes has to be right."""


class Soaker:
    """One client and its simulator, with a thread that asks and one that lets the simulator misbehave."""

    def __init__(self, kind: str, folder: Path, seed: str) -> None:
        self.kind = kind
        self.thing = THINGS[kind](folder)
        self.manager = self.thing.manager()
        self.answers = self.failures = 0
        self.wrong: list[str] = []
        self._random = random.Random(f"{seed}/{kind}")
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._ask, self._misbehave)]

    def start(self) -> None:
        """Begin."""
        self.thing.simulator.start()
        self.manager.connect(PATIENCE)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the faults, see that the client has recovered, and end."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self.thing.simulator.inject(None)
        if not eventually(self._recovered):
            self.wrong.append(f"{self.kind} did not recover: {self.manager!r}, {self.manager.reason}")
        self.manager.teardown()
        self.thing.simulator.stop()

    def _recovered(self) -> bool:
        try:
            return self.thing.exchange(1 << 40, PATIENCE)  # no fault is left that could be told from a busy machine
        except CnxError as error:
            self._give_up(error)
            return False

    def _give_up(self, error: CnxError) -> None:
        """End the link, but no attempt at another one."""
        if self.thing.connection.connected and not isinstance(error, NotConnected):
            self.thing.connection.raise_alarm(error)

    def _ask(self) -> None:
        for number in itertools.count(1):
            if self._over.is_set():
                return
            try:
                right = self.thing.exchange(number, TIMEOUT)
            except NotConnected:
                self._over.wait(0.01)
            except CnxError as error:
                self.failures += 1
                self._give_up(error)
                self._over.wait(0.01)
            except Exception as error:
                self.wrong.append(f"{self.kind}: {error!r}")
            else:
                self.answers += 1
                if not right:
                    self.wrong.append(f"{self.kind}: a wrong answer to {number}")

    def _misbehave(self) -> None:
        simulator = self.thing.simulator
        while not self._over.wait(self._random.uniform(0.1, 1.0)):
            simulator.inject(Plan([self._random.choice(FAULTS)], self._random.randrange(1 << 30)))
            self._over.wait(self._random.uniform(0.1, 1.5))
            simulator.inject(None)


class Numbering(Simulator):
    """Sends lines ``<link> <number>`` as fast as they are taken, and checks the lines that arrive.

    A line that arrives is ``<thread> <number>``. The numbers of a thread grow, as each write is whole and none is
    repeated; a line that was cut is the last one of its link.

    Args:
        serial: the line has no beginning and end: what was under way when it was opened may be there, cut.
    """

    def __init__(self, serial: bool) -> None:
        super().__init__()
        self.serial = serial
        self.lines = 0
        self.wrong: list[str] = []
        self._links = itertools.count()

    def serve(self, session: Session) -> None:
        """Send on another thread, and check on this one."""
        sending = threading.Thread(target=self._send, args=[session], daemon=True)
        sending.start()
        try:
            self._check(session)
        finally:
            session.close()
            sending.join()

    def _send(self, session: Session) -> None:
        link = next(self._links)
        try:
            for first in itertools.count(0, BATCH):
                if session.closed:
                    return
                session.write(b"".join(b"%d %d\n" % (link, number) for number in range(first, first + BATCH)))
                if self.serial and session.wait(0.01):  # a pty drops what does not fit
                    return
        except CnxError:
            return

    def _check(self, session: Session) -> None:
        latest: dict[bytes, int] = {}
        rest = b""
        first = self.serial
        while data := session.read():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if not LINE.fullmatch(line):
                    if not first and not self.serial:
                        self.wrong.append(f"the peer got {line!r}")
                    continue
                thread, number = line.split()
                if int(number) <= latest.get(thread, -1) and not self.serial:
                    self.wrong.append(f"the peer got {line!r} after {latest[thread]}")
                latest[thread] = int(number)
                self.lines += 1
            first = False


class Ledger:
    """The numbers of the lines of each link that arrived here: each once, and without a gap. Thread-safe."""

    def __init__(self, in_order: bool, serial: bool) -> None:
        self.lines = 0
        self.wrong: list[str] = []
        self._in_order = in_order
        self._serial = serial
        self._lock = threading.Lock()
        self._latest: dict[int, int] = {}
        self._seen: dict[tuple[int, int], int] = {}  # the last number of each link that each thread has read
        self._open: dict[int, set[int]] = {}  # numbers beyond the first gap, which another thread has not noted yet

    def note(self, line: bytes, thread: int = 0) -> None:
        """Take down a line that a thread has got; what was cut at the end of a link does not count."""
        if not line.endswith(b"\n"):
            return
        if not LINE.fullmatch(line[:-1]):
            if not self._serial:
                self.wrong.append(f"got {line!r}")
            return
        link, number = map(int, line.split())
        with self._lock:
            self.lines += 1
            if number <= self._seen.get((thread, link), -1):
                self.wrong.append(f"{line!r} came to a thread that had got {self._seen[thread, link]} before")
            self._seen[thread, link] = number
            latest = self._latest.get(link, -1)
            if self._serial:  # one link of the peer, and lines are lost while it is closed here
                if number <= latest and self._in_order:
                    self.wrong.append(f"{line!r} came after {latest}")
                self._latest[link] = max(number, latest)
                return
            ahead = self._open.setdefault(link, set())
            if number <= latest or number in ahead or (self._in_order and number != latest + 1):
                self.wrong.append(f"{line!r} came after {latest}")
            ahead.add(number)
            while latest + 1 in ahead:
                latest += 1
                ahead.remove(latest)
            self._latest[link] = latest

    def gaps(self) -> list[str]:
        """Return what is missing in front of lines that arrived."""
        return [
            f"link {link}: after {self._latest[link]} came {min(ahead)}" for link, ahead in self._open.items() if ahead
        ]


class Stream:
    """One connection with numbered lines in both directions, and threads that use it and that end its links.

    Args:
        kind: ``tcp``, ``tls``, ``unix`` or ``serial``.
        subscribed: one subscriber gets the lines; otherwise ``threads`` threads read them.
        threads: how many read, and how many write.
    """

    def __init__(self, kind: str, folder: Path, seed: str, *, subscribed: bool, threads: int) -> None:
        self.kind = f"{kind}, {'a subscriber' if subscribed else f'{threads} readers'}, {threads} writers"
        serial = kind == "serial"
        self.peer = Numbering(serial)
        listen = {
            "tcp": self.peer.listen_tcp,
            "tls": lambda: self.peer.listen_tcp(tls=SERVER_CONTEXT),
            "unix": lambda: self.peer.listen_unix(str(folder / f"{seed}{subscribed}")),
            "serial": self.peer.listen_pty,
        }
        settings = {"tls": CLIENT_CONTEXT, "server_hostname": "localhost"} if kind == "tls" else {}
        client = connection(listen[kind](), **settings)
        assert isinstance(client, StreamConnection)
        self.connection = client
        self.manager = ConnectionManager(client, backoff=Backoff(first=0.005, cap=0.05))
        self.ledger = Ledger(in_order=subscribed or threads == 1, serial=serial)
        self.stops: list[float] = []
        self.unexpected: list[str] = []
        self._random = random.Random(f"{seed}/{self.kind}")
        self._over = threading.Event()
        self._rest = b""
        self._up = False
        subscribe(client, Connection.Signals.CONNECTED, self._on_connected)
        subscribe(client, Connection.Signals.DISCONNECTED, self._on_disconnected)
        works: list[Callable[[], None]] = [self._kill, *(partial(self._write, number) for number in range(threads))]
        if subscribed:
            subscribe(client, Connection.Signals.DATA_RECEIVED, self._on_data)
        else:
            works += [partial(self._read, number) for number in range(threads)]
        self._threads = [threading.Thread(target=self._watch, args=[work], daemon=True) for work in works]

    def start(self) -> None:
        """Begin."""
        self.peer.start()
        self.manager.connect(PATIENCE)
        for thread in self._threads:
            thread.start()

    def stop(self) -> float:
        """End the load; return the seconds that a stop without it takes."""
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        if any(thread.is_alive() for thread in self._threads):
            self.unexpected.append("a thread that reads or writes did not come back")
        self.manager.connect(PATIENCE)
        quiet = self._timed(self.manager.disconnect)
        self.manager.teardown()
        self.peer.stop()
        return quiet

    def faults(self) -> int:
        """Return how many faults were found so far."""
        return len(self.peer.wrong) + len(self.ledger.wrong) + len(self.unexpected)

    def wrong(self) -> list[str]:
        """Return what was wrong, at the end."""
        found = self.peer.wrong + self.ledger.wrong + self.ledger.gaps() + self.unexpected
        if not self.ledger.lines or not self.peer.lines:
            found.append("no lines came through")
        return [f"{self.kind}: {what}" for what in found]

    def _watch(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.unexpected.append(repr(error))

    def _on_connected(self) -> None:
        if self._up:
            self.unexpected.append("CONNECTED twice")
        self._up, self._rest = True, b""

    def _on_disconnected(self) -> None:
        if not self._up:
            self.unexpected.append("DISCONNECTED without CONNECTED")
        self._up = False

    def _on_data(self, data: bytes) -> None:
        if not self._up:
            self.unexpected.append("data outside of a link")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.ledger.note(line + b"\n")

    def _read(self, number: int) -> None:
        """Read lines in one of three ways."""
        client = self.connection
        ways: list[Callable[[], bytes]] = [
            client.readline,
            partial(client.readline, timeout=0.2),
            partial(client.readuntil, b"\n", timeout=0.2),
        ]
        read = ways[number % len(ways)]
        while not self._over.is_set():
            try:
                line = read()
            except CnxError:
                self._over.wait(0.002)
            else:
                self.ledger.note(line, number)

    def _write(self, number: int) -> None:
        for count in itertools.count():
            if self._over.is_set():
                return
            try:
                self.connection.write(b"%d %d\n" % (number, count), timeout=1.0)
            except CnxError:
                self._over.wait(0.002)

    def _kill(self) -> None:
        """End links, in every way; a stop of the manager is timed."""
        ways: list[Callable[[], object]] = [
            lambda: self.connection.raise_alarm(ConnectionLost("killed")),
            lambda: self.stops.append(self._timed(self.manager.disconnect)),
            lambda: self.stops.append(self._timed(self.connection.disconnect)),
        ]
        if not self.peer.serial:  # a pty that is closed leaves its number to that of another peer
            ways.append(self.peer.drop_sessions)
        while not self._over.wait(self._random.uniform(0.02, 0.3)):
            self._random.choice(ways)()
            self.manager.connect(wait=False)
        self.manager.disconnect()  # wakes what reads without a timeout

    def _timed(self, stop: Callable[[], None]) -> float:
        began = monotonic()
        stop()
        return monotonic() - began


def resident() -> int:
    """Return the mebibytes that the process holds now, or held at most where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return pages * resource.getpagesize() >> 20


def report(soakers: list[Soaker], streams: list[Stream], began: float, threads: int) -> None:
    """Print one line."""
    managers = [load.manager for load in (*soakers, *streams)]
    counters = [manager.counters for manager in managers]
    recoveries = sum(counter.connects for counter in counters) - len(counters)
    wrong = sum(len(s.wrong) for s in soakers) + sum(s.faults() for s in streams)
    print(
        f"{(monotonic() - began) / 60:5.1f} min: {sum(s.answers for s in soakers)} answers, "
        f"{sum(s.failures for s in soakers)} calls failed, {sum(s.ledger.lines for s in streams)} lines in, "
        f"{sum(s.peer.lines for s in streams)} out, {recoveries} recoveries, {wrong} wrong; {resident()} MB, "
        f"{threads} threads, {open_descriptors().total()} descriptors",
        flush=True,
    )


def stress(soakers: list[Soaker], streams: list[Stream], seconds: float) -> list[str]:
    """Run all loads for so long; return what was wrong."""
    new_threads = NewThreads()
    began = monotonic()
    for load in (*soakers, *streams):
        load.start()
    pause = threading.Event()
    while (left := began + seconds - monotonic()) > 0:
        pause.wait(min(60.0, left))
        report(soakers, streams, began, len(new_threads("")))
    for soaker in soakers:
        soaker.stop()
    quiet = [stream.stop() for stream in streams]
    for soaker in soakers:
        print(
            f"  {soaker.kind}: {soaker.answers} answers, {soaker.failures} calls failed, "
            f"{soaker.manager.counters.connects} links"
        )
    for stream in streams:
        print(
            f"  {stream.kind}: {stream.ledger.lines} lines in, {stream.peer.lines} out, "
            f"{stream.manager.counters.connects} links, {len(stream.stops)} stops"
        )
    wrong = [fault for soaker in soakers for fault in soaker.wrong]
    wrong += [f"{soaker.kind} got no answers" for soaker in soakers if not soaker.answers]
    wrong += [fault for stream in streams for fault in stream.wrong()]
    loaded = max((stop for stream in streams for stop in stream.stops), default=0.0)
    print(f"longest stop: {loaded * 1000:.0f} ms under the load, {max(quiet, default=0.0) * 1000:.0f} ms without")
    if loaded > STOP_TIMEOUT + SLACK:
        wrong.append(f"a stop took {loaded:.1f} s")
    return wrong


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description="Stress all kinds of connections.", prog="python -m tests.stress")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--kinds", nargs="*", choices=THINGS, default=list(THINGS), help="of exchanges")
    parser.add_argument("--streams", nargs="*", choices=STREAMS, default=list(STREAMS), help="kinds of streams")
    parser.add_argument("--connections", type=int, default=1, help="streams of each kind, with and without subscribers")
    parser.add_argument("--threads", type=int, default=3, help="that read, and that write, for each stream")
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval(), help="seconds")
    asked = parser.parse_args()
    logging.disable(logging.ERROR)
    sys.setswitchinterval(asked.switch_interval)
    new_threads, descriptors = NewThreads(), open_descriptors().total()
    with tempfile.TemporaryDirectory() as folder:
        soakers = [Soaker(kind, Path(folder), asked.seed) for kind in asked.kinds]
        streams = [
            Stream(kind, Path(folder), f"{asked.seed}{number}", subscribed=subscribed, threads=asked.threads)
            for kind in asked.streams
            for number in range(asked.connections)
            for subscribed in (False, True)
        ]
        wrong = stress(soakers, streams, asked.minutes * 60)
    del soakers, streams
    gc.collect()
    # one descriptor wakes the listeners of a process, and is never closed
    if not eventually(lambda: not new_threads("") and open_descriptors().total() <= descriptors + 1):
        wrong.append(f"left: {new_threads('')}, {open_descriptors()}")
    print(*wrong[:20], sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
