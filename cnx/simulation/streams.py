"""Inbound and Outbound: the two directions of a session, with the steps that faults make of the bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from cnx.deadline import Deadline
from cnx.errors import ConnectionLost, TimedOut
from cnx.faults.fault import Ending, Step
from cnx.faults.plan import Pipe
from cnx.logs import logger
from cnx.simulation.channels import Link, WouldBlock
from cnx.simulation.timers import Timers

__all__ = ["WRITE_TIMEOUT", "Flow", "Inbound", "Outbound"]

log = logger(__name__)
WRITE_TIMEOUT = 5.0
"""Seconds that a client may take to read one message, by default."""


class Flow:
    """Whether a link has ended, and whether bytes flow on it. The end is final."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._hurry = threading.Event()

    @property
    def ended(self) -> bool:
        """Whether the link was ended on this side."""
        return self._ended.is_set()

    @property
    def frozen(self) -> bool:
        """Whether the link is half-open: still open, but silent."""
        return not self._flowing.is_set()

    def end(self) -> None:
        """End the link, and every wait."""
        self._ended.set()
        self.resume()

    def freeze(self) -> None:
        """Make the link half-open: no bytes pass from now on."""
        self._flowing.clear()
        if self.ended:
            self._flowing.set()

    def resume(self) -> None:
        """Let bytes pass again, and end all present pauses."""
        hurry, self._hurry = self._hurry, threading.Event()
        hurry.set()
        self._flowing.set()

    def pause(self, seconds: float) -> None:
        """Wait, for a fault, until the time is over, the link ends or the faults change."""
        hurry = self._hurry
        if not self.ended:
            hurry.wait(seconds)

    def wait_ended(self, seconds: float) -> bool:
        """Wait for the end; return whether the link has ended."""
        return self._ended.wait(seconds)

    def wait_flowing(self, timeout: float | None = None) -> bool:
        """Wait until bytes pass or the link has ended; return whether either is so."""
        return self._flowing.wait(timeout)


class Inbound:
    """The bytes from the client."""

    def __init__(self, link: Link, flow: Flow, pipe: Pipe) -> None:
        self.lock = threading.Lock()
        self.pipe = pipe
        self._used = pipe
        self._link = link
        self._flow = flow
        self._steps: deque[Step] = (
            deque()
        )  # those that the faults made of the last input, and that are still to be taken

    def read(self, size: int, deadline: Deadline) -> bytes | Ending:
        """Return bytes, ``b""`` at the end, or how a fault ends the link; raises TimedOut."""
        with self.lock:
            while self._await_flow(deadline):
                if not self._steps:
                    if not self._fetch(size, deadline):
                        break
                    continue
                step = self._steps.popleft()
                if isinstance(step, Ending):
                    return step
                if isinstance(step, bytes):
                    if len(step) > size:
                        self._steps.appendleft(step[size:])
                    return step[:size]
                self._pause(step, deadline)
        return b""

    def _await_flow(self, deadline: Deadline) -> bool:
        """Wait while the link is half-open; return whether it has not ended."""
        if not self._flow.wait_flowing(deadline.remaining()):
            deadline.check(f"reading from {self._link.address}")
        return not self._flow.ended

    def _fetch(self, size: int, deadline: Deadline) -> bool:
        """Receive, or wait for input, or take what the faults have held long enough; return ``False`` at the end."""
        try:
            data = self._link.receive(size)
        except WouldBlock as blocked:
            if not self._await_input(blocked.event, deadline):
                self._steps.extend(self._used.flush())
            return True
        if data is None or self._used is not self.pipe:
            self._steps.extend(self._used.flush())
            self._used = self.pipe
        if data is None:
            return bool(self._steps)
        self._steps.extend(self._used.feed(data))
        return True

    def _await_input(self, event: int, deadline: Deadline) -> bool:
        """Wait for input; return ``False`` if it is time to release what the faults hold."""
        waits = [wait for wait in (self._used.holds, deadline.remaining()) if wait is not None]
        try:
            self._link.wait(event, min(waits, default=None))
        except TimedOut:
            deadline.check(f"reading from {self._link.address}")
            return False
        return True

    def _pause(self, seconds: float, deadline: Deadline) -> None:
        if self._used is not self.pipe:
            return  # those faults have been replaced
        left = deadline.remaining()
        if left is not None and left < seconds:
            self._steps.appendleft(seconds - left)
            seconds = left
        self._flow.pause(seconds)
        deadline.check(f"reading from {self._link.address}")


class Outbound:
    """The bytes to the client."""

    def __init__(self, link: Link, flow: Flow, pipe: Pipe, timers: Timers) -> None:
        self.lock = threading.Lock()  # held for a whole message, however long the client takes to read it
        self.pipe = pipe
        self._used = pipe
        self._link = link
        self._flow = flow
        self._timers = timers

    @property
    def holds(self) -> float | None:
        """The seconds after which to call ``release()``; ``None`` if the faults hold nothing."""
        return self._used.holds

    def write(self, data: bytes, timeout: float | None) -> Ending | None:
        """Send what the faults make of ``data``; return how they end the link, if they do.

        Raises:
            ConnectionLost: the link has ended, or the client stopped reading.
        """
        if not self.lock.acquire(timeout=-1 if timeout is None else timeout):
            raise ConnectionLost(f"another write to {self._link.address} took longer than {timeout} s")
        try:
            if self._used is not self.pipe:
                self._carry_out(self._used.flush(), timeout)
                self._used = self.pipe
            held = self.holds
            ending = self._carry_out(self._used.feed(data), timeout)
            if held is None and (within := self.holds) is not None:
                self._timers.start(within, self.release)
        finally:
            self.lock.release()
        return ending

    def release(self) -> None:
        """Send what the faults hold back."""
        if self.holds is not None:
            try:
                with self.lock:
                    self._carry_out(self._used.flush(), WRITE_TIMEOUT)
            except ConnectionLost as error:
                log.debug("%s: %s", self._link.address, error)

    def _carry_out(self, steps: Iterable[Step], timeout: float | None) -> Ending | None:
        for step in steps:
            if isinstance(step, Ending):
                return step
            if isinstance(step, bytes):
                self._send(step, Deadline(timeout))
            elif self._used is self.pipe:
                self._flow.pause(step)
        return None

    def _send(self, data: bytes, deadline: Deadline) -> None:
        view = memoryview(data)
        while not self._flow.frozen:
            if self._flow.ended:
                raise ConnectionLost(f"the link to {self._link.address} is closed")
            try:
                view = view[self._link.send(view) :]
                if not view:
                    return
            except WouldBlock as blocked:
                try:
                    self._link.wait(blocked.event, deadline.remaining())
                except TimedOut:
                    self._link.overrun()
                    return
