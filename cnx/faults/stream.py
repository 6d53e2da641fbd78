"""Faults of the bytes. ``apply()`` makes the stage that the chunks of one direction of one link pass."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from cnx.faults.fault import Ending, Held, Stage, Step, StreamFault, option

__all__ = [
    "bandwidth",
    "corrupt",
    "delay",
    "drop",
    "duplicate",
    "garbage",
    "huge_frame",
    "merge",
    "split",
    "truncate",
]


@dataclass(frozen=True)
class delay(StreamFault):
    """Wait ``seconds``, and up to ``jitter`` seconds more, before each chunk."""

    seconds: float = option(0.05, maximum=3600)
    jitter: float = option(0.0, maximum=3600)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""

        def stage(data: bytes) -> Iterator[Step]:
            yield self.seconds + random.uniform(0.0, self.jitter)
            yield data

        return stage


@dataclass(frozen=True)
class bandwidth(StreamFault):
    """Pass ``rate`` bytes per second, smoothly."""

    rate: int = option(1000, minimum=1)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""
        size = max(1, self.rate // 20)

        def stage(data: bytes) -> Iterator[Step]:
            for start in range(0, max(1, len(data)), size):
                piece = data[start : start + size]
                yield piece
                yield len(piece) / self.rate

        return stage


@dataclass(frozen=True)
class split(StreamFault):
    """Pass pieces of ``size`` bytes, each by itself."""

    size: int = option(1, minimum=1)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""

        def stage(data: bytes) -> Iterator[Step]:
            for start in range(0, max(1, len(data)), self.size):
                yield data[start : start + self.size]

        return stage


@dataclass(frozen=True)
class merge(StreamFault):
    """Pass ``count`` chunks as one, or those that arrive ``within`` so many seconds."""

    count: int = option(2, minimum=1)
    within: float = option(0.05, minimum=0.001, maximum=3600)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""
        return Merged(self)


class Merged(Held):
    """The stage of ``merge``."""

    def __init__(self, fault: merge) -> None:
        self.within = fault.within
        self.data = b""
        self._count = fault.count
        self._chunks = 0

    def __call__(self, data: bytes) -> Iterator[Step]:
        """Hold the chunk, or release everything with the last one of the count."""
        self.data += data
        self._chunks += 1
        if self._chunks >= self._count or not data:
            passed, self.data, self._chunks = self.data, b"", 0
            yield passed


@dataclass(frozen=True)
class corrupt(StreamFault):
    """Flip one bit of each byte with this ``probability``. Which bytes does not depend on the chunks."""

    probability: float = option(0.01, maximum=1)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""
        gap = self._gap(random)

        def stage(data: bytes) -> Iterator[Step]:
            nonlocal gap
            changed = bytearray(data)
            while gap < len(data):
                changed[gap] ^= 1 << random.randrange(8)
                gap += 1 + self._gap(random)
            gap -= len(data)
            yield bytes(changed)

        return stage

    def _gap(self, random: random.Random) -> int:
        """Return a random number of bytes to pass unchanged before the next corrupt one."""
        if self.probability in (0, 1):
            return 0 if self.probability else 1 << 62
        return min(1 << 62, int(math.log(1 - random.random()) / math.log1p(-self.probability)))


@dataclass(frozen=True)
class duplicate(StreamFault):
    """Pass each chunk twice with this ``probability``."""

    probability: float = option(0.1, maximum=1)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""

        def stage(data: bytes) -> Iterator[Step]:
            yield data
            if random.random() < self.probability:
                yield data

        return stage


@dataclass(frozen=True)
class drop(StreamFault):
    """Drop each chunk with this ``probability``."""

    probability: float = option(0.1, maximum=1)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""

        def stage(data: bytes) -> Iterator[Step]:
            if random.random() >= self.probability:
                yield data

        return stage


@dataclass(frozen=True)
class truncate(StreamFault):
    """Pass ``size`` bytes, then close the link."""

    size: int = option(10)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""
        left = self.size

        def stage(data: bytes) -> Iterator[Step]:
            nonlocal left
            passed, left = data[:left], left - len(data)
            if passed:
                yield passed
            if left <= 0:
                left = 0
                yield Ending.CLOSE

        return stage


@dataclass(frozen=True)
class garbage(StreamFault):
    """Insert ``size`` random bytes before the first chunk, and before each later one with this ``probability``."""

    size: int = option(16, minimum=1, maximum=1 << 20)
    probability: float = option(1.0, maximum=1)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""
        first = True

        def stage(data: bytes) -> Iterator[Step]:
            nonlocal first
            if random.random() < self.probability or first:
                yield random.randbytes(self.size)
            first = False
            yield data

        return stage


@dataclass(frozen=True)
class huge_frame(StreamFault):
    """Insert a frame of ``size`` equal bytes, without a terminator, after ``after`` chunks."""

    size: int = option(1 << 20, minimum=1, maximum=1 << 30)
    after: int = option(0)

    def apply(self, random: random.Random) -> Stage:
        """Return the stage."""
        chunks = 0

        def stage(data: bytes) -> Iterator[Step]:
            nonlocal chunks
            if chunks == self.after:
                for start in range(0, self.size, 65536):
                    yield b"x" * min(65536, self.size - start)
            chunks += 1
            yield data

        return stage
