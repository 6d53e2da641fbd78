"""Backoff: how long to wait between attempts to connect, and when to give up.

Jitter spreads the attempts of many clients that have lost the same server at the same moment.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter and a cap: before retry *n* a random time up to ``first * factor ** n``.

    Attributes:
        first: upper bound of the first wait, in seconds. With full jitter the first retry comes after half of it on
            average.
        factor: growth from one wait to the next, at least 1.
        cap: upper bound of every wait, in seconds; at most 1,000,000.
        jitter: fraction of each wait that is random, from 0 (none) to 1 (full).
        attempts: number of failed attempts after which to give up; ``None`` to never give up.
        total: seconds since the first attempt after which to give up; ``None`` to never give up.
        reset_after: seconds that a link must have been up for the waits to start over.
    """

    first: float = 0.2
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 1.0
    attempts: int | None = None
    total: float | None = None
    reset_after: float = 5.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not _is_number(value, whole=name == "attempts") and not (
                value is None and name in ("attempts", "total")
            ):
                raise TypeError(f"{name} must be {_KINDS.get(name, 'a number')}, not {value!r}")
        rules = {
            "first": (self.first > 0, "above 0"),
            "factor": (self.factor >= 1, "at least 1"),
            "cap": (self.first <= self.cap <= 1_000_000, f"between first={self.first!r} and 1,000,000"),
            "jitter": (0 <= self.jitter <= 1, "between 0 and 1"),
            "attempts": (self.attempts is None or self.attempts >= 1, "at least 1, or None"),
            "total": (self.total is None or self.total >= 0, "at least 0, or None"),
            "reset_after": (self.reset_after >= 0, "at least 0"),
        }
        for name, (holds, range_) in rules.items():
            if not holds:  # a NaN makes every comparison false, so it is refused, too
                raise ValueError(f"{name} must be {range_}, not {getattr(self, name)!r}")

    @classmethod
    def local(cls) -> Backoff:
        """Return the preset for devices on the same network: a retry at least once a second."""
        return cls(first=0.05, cap=1.0)

    def delays(self, uniform: Callable[[float, float], float] = random.uniform) -> Iterator[float]:
        """Yield the waits in seconds, for ever.

        Args:
            uniform: source of randomness, ``random.uniform`` or a replacement for tests.
        """
        ceiling = self.first
        while True:
            yield uniform(ceiling * (1 - self.jitter), ceiling)
            ceiling = min(ceiling * self.factor, self.cap)


_KINDS = {"attempts": "a whole number or None", "total": "a number or None"}
"""The types of the attributes that are not just numbers, for messages."""


def _is_number(value: object, *, whole: bool) -> bool:
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
