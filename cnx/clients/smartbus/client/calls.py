"""Flow calls in progress, and their timeouts."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from cnx.clients.smartbus.client.events import BusSignals, FlowFailed
from cnx.clients.smartbus.protocol.codes import Code, meaning
from cnx.clients.smartbus.protocol.flows import (
    STARTED,
    FlowAck,
    FlowReturn,
    load_values,
)
from cnx.deadline import checked_timeout
from cnx.errors import InvalidJson, LimitExceeded, TimedOut, fresh
from cnx.logs import log_of_peer, logger
from cnx.threads.starting import new_thread, start
from cnx.threads.steps import run_each

__all__ = ["CallTable", "FlowCall", "positive"]

log = logger(__name__)

OUTSTANDING_LIMIT = 3000
"""How many calls may be in progress, as in the vendor's library."""
ACK_SHORTEST, ACK_LONGEST = 1.0, 5.0
"""Seconds between which the wait for an acknowledgement is kept, as in the vendor's library."""
LINGER = 1.0
"""Seconds without a call after which the thread for timeouts ends."""


class FlowCall:
    """A call of a flow. Thread-safe.

    Attributes:
        invoke_id: the number by which the answers of the server are matched.
        project, flow: the ids of what was called.
        need_return: whether the flow returns values.
    """

    def __init__(self, invoke_id: int, project: str, flow: str, timeout: float, need_return: bool) -> None:
        self.invoke_id = invoke_id
        self.project = project
        self.flow = flow
        self.need_return = need_return
        self._timeout = timeout
        now = monotonic()
        self.ack_due = now + min(max(timeout, ACK_SHORTEST), ACK_LONGEST)
        self.due = now + timeout if need_return else self.ack_due
        self._changed = threading.Condition()
        self._ack: int | None = None
        self._values: list[Any] | None = None
        self._error: Exception | None = None

    def __repr__(self) -> str:
        state = "done" if self.done else "in progress"
        return f"<FlowCall {self.invoke_id} {self.project}/{self.flow} {state}>"

    @property
    def done(self) -> bool:
        """Whether the call has ended, with values or with an error."""
        return self._error is not None or self._values is not None

    def acknowledged(self, timeout: float | None = None) -> bool:
        """Wait until the server has started the flow, and return ``True``.

        Args:
            timeout: seconds to wait; by default until the acknowledgement of the call is overdue.

        Raises:
            FlowFailed: the flow did not start; ``code`` and the message say why.
            TimedOut: the server did not answer in time.
            ConnectionLost, Cancelled: the call was lost with the link.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._ack is not None or self.done, checked_timeout(timeout)):
                raise TimedOut(f"{self!r}: not acknowledged within {timeout} s")
            if self._ack == STARTED:
                return True
            if self._error is not None:
                raise fresh(self._error)
            raise TimedOut(f"{self!r}: the server did not report whether it started")

    def result(self, timeout: float | None = None) -> list[Any]:
        """Wait for the values that the flow returns.

        Args:
            timeout: seconds to wait; by default until the call's own timeout.

        Raises:
            FlowFailed: the flow did not start.
            TimedOut: nothing was returned in time; after the call's own timeout, later values are ignored.
            InvalidJson: the flow returned something other than a JSON array.
            ConnectionLost, Cancelled: the call was lost with the link.
            ValueError: the flow was called without return.
        """
        if not self.need_return:
            raise ValueError(f"{self!r} was called with need_return=False; there is no result")
        with self._changed:
            if not self._changed.wait_for(lambda: self.done, checked_timeout(timeout)):
                raise TimedOut(f"{self!r}: no result within {timeout} s")
            if self._error is not None:
                raise fresh(self._error)
            assert self._values is not None
            return self._values

    def set_ack(self, ack: int, error: Exception | None = None) -> bool:
        """Set the acknowledgement, and the error that it means; return whether it is the first one."""
        with self._changed:
            if self._ack is not None or self.done:
                return False
            self._ack, self._error = ack, error
            if ack == STARTED and not self.need_return:
                self._values = []
            self._changed.notify_all()
        return True

    def finish(self, values: list[Any] | None = None, error: Exception | None = None) -> bool:
        """End the call with values or an error; return whether it was in progress."""
        with self._changed:
            if self.done:
                return False
            if values is not None and self._ack is None:
                self._ack = STARTED
            self._values, self._error = values, error
            self._changed.notify_all()
        return True

    @property
    def next_due(self) -> float:
        """The ``monotonic()`` time at which the acknowledgement or the values are overdue."""
        return min(self.ack_due, self.due) if self._ack is None else self.due

    def refusal(self, ack: FlowAck) -> FlowFailed | None:
        """Return the error that an acknowledgement means, or ``None`` if the flow has started."""
        if ack.ack == STARTED:
            return None
        what = f"flow {self.project}/{self.flow} did not start: {meaning(ack.ack)} ({ack.ack})"
        return FlowFailed(f"{what}: {ack.message}" if ack.message else what, ack.ack)

    def overrun(self) -> TimedOut:
        """Return the error for a call that took too long."""
        return TimedOut(f"flow {self.project}/{self.flow} (call {self.invoke_id}) took longer than {self._timeout:g} s")


class CallTable:
    """The calls of one client that are in progress. Thread-safe.

    While there are calls, a thread waits for the next timeout, independently of the links.

    Args:
        name: of the client, for the name of the thread.
        emit: emits a signal with its arguments.
    """

    def __init__(self, name: str, emit: Callable[..., None]) -> None:
        self._name = name
        self._emit = emit
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._calls: dict[int, FlowCall] = {}
        self._next_due = 0.0
        self._closing = False
        self._thread: threading.Thread | None = None

    def next_id(self) -> int:
        """Return a new invoke id, 1 to 2147483647."""
        return positive(next(self._ids))

    def add(self, call: FlowCall) -> None:
        """Add a call, before it is sent.

        Raises:
            LimitExceeded: 3000 calls are in progress.
            ConnectError: the system has no thread to spare for the timeouts of calls.
        """
        with self._changed:
            if len(self._calls) >= OUTSTANDING_LIMIT:
                raise LimitExceeded(f"{self._name} has {OUTSTANDING_LIMIT} flow calls in progress; wait until some end")
            self._calls[call.invoke_id] = call
            if self._thread is None:
                self._closing = False
                thread = self._thread = new_thread(self._run, f"cnx calls {self._name}")
                try:
                    start(thread)
                except BaseException:
                    self._thread = None
                    del self._calls[call.invoke_id]
                    raise
            elif call.next_due < self._next_due:
                self._changed.notify_all()

    def drop(self, call: FlowCall) -> None:
        """Remove a call."""
        with self._changed:
            self._calls.pop(call.invoke_id, None)

    def on_ack(self, ack: FlowAck) -> None:
        """Take an acknowledgement: the flow has started, or failed to."""
        call = self._calls.get(ack.invoke_id)
        if call is None or not call.set_ack(ack.ack, error := call.refusal(ack)):
            text = "%s: ignoring an acknowledgement of call %d, which is not in progress"
            log_of_peer(log, logging.INFO, text, self._name, ack.invoke_id)
            return
        if call.done:
            self.drop(call)
        self._emit(BusSignals.FLOW_ACKNOWLEDGED, call=call, ack=ack.ack, message=ack.message)
        if error is not None:
            self._emit(BusSignals.FLOW_FAILED, call=call, error=error)

    def on_return(self, answer: FlowReturn) -> None:
        """Take the values that a flow returned."""
        call = self._calls.get(answer.invoke_id)
        if call is None:
            text = "%s: ignoring a return of call %d, which is not in progress"
            log_of_peer(log, logging.INFO, text, self._name, answer.invoke_id)
            return
        try:
            values = load_values(answer.text)
        except InvalidJson as error:
            self._fail(call, error)
            return
        self.drop(call)
        if call.finish(values):
            self._emit(BusSignals.FLOW_RESPONDED, call=call, values=values)

    def fail_all(self, error: Exception) -> None:
        """End all calls with ``error``."""
        calls = list(self._calls.values())
        run_each(lambda: self._name, [(f"failing {call!r}", partial(self._fail, call, error)) for call in calls])

    def close(self, timeout: float) -> None:
        """End the thread if no call is in progress; wait for that at most ``timeout`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _fail(self, call: FlowCall, error: Exception) -> None:
        self.drop(call)
        if call.finish(error=error):
            self._emit(BusSignals.FLOW_FAILED, call=call, error=error)

    def _run(self) -> None:
        while (overdue := self._wait_for_overdue()) is not None:
            for call in overdue:
                self._expire(call)

    def _wait_for_overdue(self) -> list[FlowCall] | None:
        """Return the calls that are overdue, or ``None`` when the thread has to end."""
        with self._changed:
            if not self._calls and not self._closing:
                self._next_due = float("inf")
                self._changed.wait(LINGER)
            if not self._calls:
                self._thread = None
                return None
            self._next_due = min(call.next_due for call in self._calls.values())
            if self._next_due > monotonic():
                self._changed.wait(self._next_due - monotonic())
            now = monotonic()
            return [call for call in self._calls.values() if call.next_due <= now]

    def _expire(self, call: FlowCall) -> None:
        """Report what is overdue of a call: its acknowledgement, its values, or both."""
        if call.set_ack(Code.TIMEOUT):
            self._emit(BusSignals.FLOW_ACKNOWLEDGED, call=call, ack=int(Code.TIMEOUT), message="")
        if call.due <= monotonic():
            self.drop(call)
            if call.finish(error=call.overrun()):
                self._emit(BusSignals.FLOW_TIMED_OUT, call=call)


def positive(number: int) -> int:
    """Return a number from 1 on as a positive 32-bit number, which starts again at 1 after 2147483647."""
    return (number - 1) % 0x7FFFFFFF + 1
