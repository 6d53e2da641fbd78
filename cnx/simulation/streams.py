"""The two directions of a session: waiting, whole messages, and the steps that faults make of the bytes."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable

from cnx.deadline import Deadline
from cnx.errors import ConnectionLost, TimedOut
from cnx.faults.fault import Ending, Step
from cnx.faults.plan import Pipe
from cnx.simulation.channels import Link, WouldBlock
from cnx.simulation.timers import Timers

__all__ = ["WRITE_TIMEOUT", "Flow", "Inbound", "Outbound"]

log = logging.getLogger(__name__)
WRITE_TIMEOUT = 5.0
"""Seconds that a client may take for one message, where nothing else is said."""


class Flow:
    """Whether a link lives, and whether bytes flow on it. Ending it is final."""

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
        """Whether the link is half-open: there, and silent."""
        return not self._flowing.is_set()

    def end(self) -> None:
        """End it; every wait is over."""
        self._ended.set()
        self.resume()

    def freeze(self) -> None:
        """Let nothing pass from now on."""
        self._flowing.clear()
        if self.ended:
            self._flowing.set()

    def resume(self) -> None:
        """Let bytes pass again, and end the pauses of this moment."""
        hurry, self._hurry = self._hurry, threading.Event()
        hurry.set()
        self._flowing.set()

    def pause(self, seconds: float) -> None:
        """Wait as a fault wants it."""
        hurry = self._hurry
        if not self.ended:
            hurry.wait(seconds)

    def wait_ended(self, seconds: float) -> bool:
        """Wait for the end, and tell whether it came."""
        return self._ended.wait(seconds)

    def wait_flowing(self, timeout: float | None = None) -> bool:
        """Wait until bytes pass or the link has ended, and tell whether that came."""
        return self._flowing.wait(timeout)


class Inbound:
    """What comes from the client."""

    def __init__(self, link: Link, flow: Flow, pipe: Pipe) -> None:
        self.lock = threading.Lock()
        self.pipe = pipe
        self._used = pipe
        self._link = link
        self._flow = flow
        self._steps: deque[Step] = deque()  # what the faults made of the last input, and is not done yet

    def read(self, size: int, deadline: Deadline) -> bytes | Ending:
        """Return bytes, ``b""`` at the end, or what a fault wants to happen to the link; raises TimedOut."""
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
        """Wait while the link is half-open; tell whether it lives."""
        if not self._flow.wait_flowing(deadline.remaining()):
            deadline.check(f"reading from {self._link.address}")
        return not self._flow.ended

    def _fetch(self, size: int, deadline: Deadline) -> bool:
        """Receive, or wait for input, or take what the faults held for long enough; ``False`` at the end."""
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
        """Wait for input; ``False`` when it is time to give away what the faults hold."""
        waits = [wait for wait in (self._used.holds, deadline.remaining()) if wait is not None]
        try:
            self._link.wait(event, min(waits, default=None))
        except TimedOut:
            deadline.check(f"reading from {self._link.address}")
            return False
        return True

    def _pause(self, seconds: float, deadline: Deadline) -> None:
        if self._used is not self.pipe:
            return  # those faults are over
        left = deadline.remaining()
        if left is not None and left < seconds:
            self._steps.appendleft(seconds - left)
            seconds = left
        self._flow.pause(seconds)
        deadline.check(f"reading from {self._link.address}")


class Outbound:
    """What goes to the client."""

    def __init__(self, link: Link, flow: Flow, pipe: Pipe, timers: Timers) -> None:
        self.lock = threading.Lock()  # held for a whole message, however long the client takes to read it
        self.pipe = pipe
        self._used = pipe
        self._link = link
        self._flow = flow
        self._timers = timers

    @property
    def holds(self) -> float | None:
        """After how many seconds the faults want ``release()`` to be called, or ``None``."""
        return self._used.holds

    def write(self, data: bytes, timeout: float | None) -> Ending | None:
        """Send what the faults make of ``data``; return what they want to happen to the link.

        Raises:
            ConnectionLost: the link is over, or the client stopped reading.
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
