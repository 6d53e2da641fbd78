"""A simulated line with chillers on it: a threaded server on TCP or a pseudo terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.protocol.frames import Frames
from cnx.clients.chiller.simulator.quirks import Quirks
from cnx.clients.chiller.simulator.unit import Unit
from cnx.simulation import Session, Simulator

__all__ = ["ChillerSimulator"]

BITS_PER_CHARACTER = 10
"""On a line with 8 data bits, no parity and one stop bit."""


class ChillerSimulator(Simulator):
    """Chillers on one line, which several clients may share.

    Attributes:
        units: the units by device id; their plant and quirks may be changed at any time.

    Args:
        device_ids: the units on the line, 1 to 32 each.
        clock: returns seconds, for the plants.
        quirks: how all units differ from the document.
        baudrate: delay replies as a serial line of this baud rate would.
        gap_limit: seconds between two parts of a command after which it is dropped. A unit drops it after
            0.01; over TCP, the gaps are those of the network.
    """

    def __init__(
        self,
        device_ids: Iterable[int] = (1,),
        *,
        clock: Callable[[], float] = time.monotonic,
        quirks: Quirks | None = None,
        baudrate: int | None = None,
        gap_limit: float | None = None,
    ) -> None:
        super().__init__("chiller simulator")
        self.units = {number: Unit(number, clock=clock, quirks=quirks) for number in device_ids}
        self.baudrate = baudrate
        self.gap_limit = gap_limit
        self._line = threading.Lock()

    def serve(self, session: Session) -> None:
        """Answer the commands of one client."""
        framing, buffer = Frames(b"."), ReceiveBuffer()
        received_at = time.monotonic()
        while data := session.read():
            gap, received_at = time.monotonic() - received_at, time.monotonic()
            if self.gap_limit is not None and gap > self.gap_limit:
                buffer.clear()
            buffer.append(data)
            while (frame := framing.take(buffer)) is not None:
                self._answer(session, frame)

    def answer(self, frame: bytes) -> bytes | None:
        """Return the reply of the unit that a frame is for, or ``None`` if no unit answers. Thread-safe."""
        device_id = frame[1:3]
        unit = self.units.get(int(device_id)) if device_id.isdigit() else None
        if unit is None:
            return None
        with self._line:
            return unit.answer(frame)

    def _answer(self, session: Session, frame: bytes) -> None:
        reply = self.answer(frame)
        if reply is None:
            return
        if self.baudrate is not None:
            session.wait(BITS_PER_CHARACTER * (len(frame) + 1 + len(reply)) / self.baudrate)
        session.write(reply)
