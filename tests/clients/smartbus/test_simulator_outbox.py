"""The queue to one client of the bus server."""

from __future__ import annotations

import queue
import threading

from cnx.clients.smartbus.simulator.outbox import Outbox
from tests.helpers.smartbus_peer import PATIENCE


class Stuck:
    """A session whose client takes nothing until it is released."""

    address = "stuck"

    def __init__(self) -> None:
        self.released = threading.Event()
        self.writing = threading.Event()
        self.was_reset = threading.Event()
        self.written: queue.Queue[bytes] = queue.Queue()

    def write(self, data: bytes, timeout: float = PATIENCE) -> None:
        """Wait, then keep the data."""
        self.writing.set()
        self.released.wait(PATIENCE)
        self.written.put(data)

    def reset(self) -> None:
        """Remember it."""
        self.was_reset.set()


def test_outbox_is_bounded_and_holds_senders_back() -> None:
    """A full outbox makes its senders wait; nothing is lost when the client reads on."""
    session = Stuck()
    outbox = Outbox(session, b"first", size=10)
    outbox.start()
    assert session.writing.wait(PATIENCE)
    assert outbox.put(b"12345678")
    sender = threading.Thread(target=outbox.put, args=(b"longer than the size",))
    sender.start()
    session.released.set()
    sender.join(PATIENCE)
    assert outbox.put(b"last")
    written = b""
    while not written.endswith(b"last"):
        written += session.written.get(timeout=PATIENCE)
    assert written == b"first12345678longer than the sizelast"
    outbox.close(PATIENCE)
    assert not outbox.put(b"late")


def test_client_that_takes_nothing_is_cut_off() -> None:
    """A sender waits for so long and no longer; the stuck client is reset."""
    session = Stuck()
    outbox = Outbox(session, b"first", size=10, patience=0.05)
    outbox.start()
    assert session.writing.wait(PATIENCE)
    assert outbox.put(b"12345678")
    assert not outbox.put(b"abc")
    assert session.was_reset.is_set()
    session.released.set()
    outbox.close(PATIENCE)
