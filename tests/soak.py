"""All clients against all simulators for a while, amid random faults: ``python -m tests.soak --minutes 30 --seed 1``.

Every answer is checked. Each minute a line tells what happened so far, and what the process holds; at the end the
process has to hold no more threads and descriptors than in the beginning, and every client has to have recovered.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import random
import resource
import sys
import tempfile
import threading
from pathlib import Path
from time import monotonic

from cnx import CnxError, NotConnected
from cnx.faults import Fault, accept_close, bandwidth, delay, half_open, merge, refuse, reset, split, truncate, unplug
from cnx.faults.plan import Plan
from cnx.testing import PATIENCE, NewThreads, eventually, open_descriptors
from tests.helpers.kinds_of_connections import THINGS

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


def resident() -> int:
    """Return the mebibytes that the process holds now, or held at most where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return pages * resource.getpagesize() >> 20


def report(soakers: list[Soaker], began: float, threads: int) -> None:
    """Print one line."""
    counters = [soaker.manager.counters for soaker in soakers]
    recoveries = sum(counter.connects for counter in counters) - len(counters)
    print(
        f"{(monotonic() - began) / 60:5.1f} min: {sum(s.answers for s in soakers)} answers, "
        f"{sum(s.failures for s in soakers)} calls failed, {sum(c.losses for c in counters)} losses, "
        f"{recoveries} recoveries, {sum(len(s.wrong) for s in soakers)} wrong; {resident()} MB, "
        f"{threads} threads, {open_descriptors().total()} descriptors",
        flush=True,
    )


def soak(kinds: list[str], seconds: float, seed: str) -> list[str]:
    """Run, and return what was wrong."""
    new_threads, descriptors = NewThreads(), open_descriptors().total()
    with tempfile.TemporaryDirectory() as folder:
        soakers = [Soaker(kind, Path(folder), seed) for kind in kinds]
        began = monotonic()
        for soaker in soakers:
            soaker.start()
        pause = threading.Event()
        while (left := began + seconds - monotonic()) > 0:
            pause.wait(min(60.0, left))
            report(soakers, began, len(new_threads("")))
        for soaker in soakers:
            soaker.stop()
    report(soakers, began, len(new_threads("")))
    for soaker in soakers:
        print(
            f"  {soaker.kind}: {soaker.answers} answers, {soaker.failures} calls failed, "
            f"{soaker.manager.counters.connects} links"
        )
    wrong = [fault for soaker in soakers for fault in soaker.wrong]
    wrong += [f"{soaker.kind} got no answers" for soaker in soakers if not soaker.answers]
    del soakers, soaker
    gc.collect()
    # one descriptor wakes the listeners of a process, and is never closed
    if not eventually(lambda: not new_threads("") and open_descriptors().total() <= descriptors + 1):
        wrong.append(f"left: {new_threads('')}, {open_descriptors()}")
    return wrong


def main() -> None:
    """Soak as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--kinds", nargs="+", choices=THINGS, default=list(THINGS))
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    wrong = soak(asked.kinds, asked.minutes * 60, asked.seed)
    print(*wrong[:20], sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
