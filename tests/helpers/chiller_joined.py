"""A line without a socket: what the client writes is answered at once, and time passes only for the units.

What never comes is a timeout at once, so hours of faults take seconds.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable

from cnx.buffer import ReceiveBuffer
from cnx.clients.chiller.protocol.frames import Frames
from cnx.clients.chiller.simulator import ChillerSimulator
from cnx.connections.stream import StreamConnection
from cnx.deadline import Deadline
from cnx.errors import PeerClosed, TimedOut
from cnx.transports.transport import Transport

__all__ = ["JoinedLine", "Mishaps"]

Wire = Callable[[bytes], bytes]


class JoinedLine(StreamConnection):
    """Opens lines to a simulator that runs without threads; the wires pass what goes there and what comes back."""

    def __init__(self, simulator: ChillerSimulator, there: Wire = bytes, back: Wire = bytes) -> None:
        super().__init__()
        self._simulator = simulator
        self._wires = there, back

    @property
    def address(self) -> str:
        return "joined line"

    def open_transport(self, deadline: Deadline) -> Transport:
        return JoinedTransport(self._simulator, *self._wires)


class JoinedTransport(Transport):
    """One link. Its descriptor never has anything to tell; a caller of a reading method reads by itself."""

    address = "joined line"

    def __init__(self, simulator: ChillerSimulator, there: Wire, back: Wire) -> None:
        self._simulator = simulator
        self._there, self._back = there, back
        self._silence = os.pipe()
        self._commands = ReceiveBuffer()
        self._framing = Frames(b".")
        self._replies: deque[bytes] = deque()
        self._ended = False

    def fileno(self) -> int:
        return self._silence[0]

    def write(self, data: bytes | bytearray | memoryview, timeout: float | None) -> int:
        self._commands.append(self._there(bytes(data)))
        for frame in self._framing.take_all(self._commands):
            reply = self._simulator.answer(frame)
            if reply is not None:
                self._replies.append(self._back(reply))
        return len(data)

    def read(self, size: int, timeout: float | None) -> bytes:
        found = self.read_now(size)
        if found is None:
            raise TimedOut("nothing more comes on a joined line")
        return found

    def read_now(self, size: int) -> bytes | None:
        while self._replies:
            piece = self._replies.popleft()
            if piece.endswith(Mishaps.CUT):
                self._ended = True
                piece = piece[: -len(Mishaps.CUT)]
            if piece:
                return piece
        if self._ended:
            raise PeerClosed("the joined line was cut")
        return None

    def shutdown(self) -> None:
        self._replies.clear()
        self._ended = True

    def close(self) -> None:
        for descriptor in self._silence:
            os.close(descriptor)


class Mishaps:
    """What may happen to frames on one way, in a share of ``rate`` of them; the same for the same seed."""

    CUT = b"<cut>"

    def __init__(self, rate: float, seed: int) -> None:
        self.count = 0
        self._rate = rate
        self._random = random.Random(seed)
        self._held = b""
        self._stalled = 0
        self._kinds = (self._lose, self._flip, self._noise, self._twice, self._stall, self._cut, self._pause)

    def __call__(self, frame: bytes) -> bytes:
        """Return what arrives; the order always stays."""
        if self._random.random() < self._rate:
            self.count += 1
            frame = self._random.choice(self._kinds)(frame)
        self._held += frame
        if self._stalled:
            self._stalled -= 1
            return b""
        arrived, self._held = self._held, b""
        return arrived

    def _lose(self, frame: bytes) -> bytes:
        return b""

    def _flip(self, frame: bytes) -> bytes:
        place = self._random.randrange(len(frame))
        return frame[:place] + bytes([frame[place] ^ 1 << self._random.randrange(8)]) + frame[place + 1 :]

    def _noise(self, frame: bytes) -> bytes:
        return self._random.randbytes(self._random.randrange(200)) + frame

    def _twice(self, frame: bytes) -> bytes:
        return frame + frame

    def _stall(self, frame: bytes) -> bytes:
        self._stalled = self._random.randrange(1, 20)
        return frame

    def _cut(self, frame: bytes) -> bytes:
        return frame[: self._random.randrange(len(frame))] + self.CUT

    def _pause(self, frame: bytes) -> bytes:
        return b"\x13\x11" + frame[:7] + b"\x13\x11" + frame[7:]
