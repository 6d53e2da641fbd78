"""The flows of a simulated bus: Python functions that clients call by project and name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cnx.clients.smartbus.protocol.codes import Code
from cnx.clients.smartbus.protocol.flows import (
    STARTED,
    WITHOUT_RETURN,
    FlowAck,
    FlowReturn,
    InvokeFlow,
    dump_values,
    load_values,
)
from cnx.clients.smartbus.protocol.messages import Message
from cnx.errors import ConnectError, InvalidJson
from cnx.logs import logger
from cnx.threads.hook import report_error
from cnx.threads.starting import new_thread, start

__all__ = ["Flow", "FlowRunner"]

log = logger(__name__)
RUNNING_LIMIT = 256
"""How many calls may run at a time."""
DELAY = 0.005
"""Seconds before the first answer; the vendor's library loses answers that are faster than its own bookkeeping."""


@dataclass(frozen=True)
class Flow:
    """A flow, and how it answers a call.

    Attributes:
        function: called with the parameters on a thread of its own. The flow returns the items of a list or tuple,
            nothing for ``None``, and any other result as a single value. If the function raises, the flow does not
            return and the call times out, as the protocol has no message for that. ``None`` instead of a function is a
            flow that starts and never returns.
        ack: 1, or the error code with which it fails to start; ``None`` sends no acknowledgement.
        message: explains ``ack``.
    """

    function: Callable[..., Any] | None = None
    ack: int | None = STARTED
    message: str = ""


class FlowRunner:
    """Runs flows, each call on a thread of its own. Thread-safe.

    Args:
        flows: by project and name; they may be changed at any time.
    """

    def __init__(self, flows: Mapping[tuple[str, str], Flow]) -> None:
        self._flows = flows
        self._lock = threading.Lock()
        self._running: set[threading.Thread] = set()
        self._stopped = threading.Event()

    def start(self, call: InvokeFlow, reply: Callable[[Message], object]) -> None:
        """Run the flow that ``call`` names on a thread of its own, and pass each answer to ``reply``."""
        thread = new_thread(self._run, f"cnx flow {call.project}/{call.flow}", call, reply)
        with self._lock:
            full = len(self._running) >= RUNNING_LIMIT
            if not full:
                self._running.add(thread)
        if full:
            reply(FlowAck(call.project, call.invoke_id, Code.BUFFER_FULL, "too many flows are running"))
            return
        try:
            start(thread)
        except ConnectError as error:
            with self._lock:
                self._running.discard(thread)
            reply(FlowAck(call.project, call.invoke_id, Code.BUFFER_FULL, str(error)))

    def stop(self, timeout: float) -> None:
        """Wait at most ``timeout`` seconds for the running functions; their answers are dropped."""
        self._stopped.set()
        expiry = time.monotonic() + timeout
        with self._lock:
            running = list(self._running)
        for thread in running:
            thread.join(max(0.0, expiry - time.monotonic()))
            if thread.is_alive():
                log.warning("%s is still running", thread.name)

    def _run(self, call: InvokeFlow, reply: Callable[[Message], object]) -> None:
        try:
            if not self._stopped.wait(DELAY):
                self._answer(call, reply)
        except Exception as error:
            report_error(error, f"flow {call.project}/{call.flow} failed; its caller gets no return")
        finally:
            with self._lock:
                self._running.discard(threading.current_thread())

    def _answer(self, call: InvokeFlow, reply: Callable[[Message], object]) -> None:
        flow = self._flows.get((call.project, call.flow))
        if flow is None:
            message = f"no flow {call.flow} in project {call.project}"
            reply(FlowAck(call.project, call.invoke_id, Code.NO_DESTINATION, message))
            return
        try:
            parameters = load_values(call.parameters)
        except InvalidJson as error:
            log.warning("flow %s/%s: %s", call.project, call.flow, error)
            reply(FlowAck(call.project, call.invoke_id, Code.ARGUMENT, "the parameters are no JSON array"))
            return
        if flow.ack is not None:
            reply(FlowAck(call.project, call.invoke_id, flow.ack, flow.message))
        if flow.ack in (STARTED, None) and flow.function is not None:
            text = dump_values(_values(flow.function(*parameters)))
            if call.mode != WITHOUT_RETURN and not self._stopped.is_set():
                reply(FlowReturn(call.project, call.invoke_id, text))


def _values(result: Any) -> list[Any]:
    if isinstance(result, (list, tuple)):
        return list(result)
    return [] if result is None else [result]
