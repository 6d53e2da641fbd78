"""How long to wait between attempts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter and a cap: before retry *n* a random time up to ``first * factor ** n``.

    Attributes:
        first: upper end of the first wait, seconds; with full jitter the first retry comes after half of it on average.
        factor: growth from one wait to the next, at least 1.
        cap: no wait is longer, seconds; at most 1,000,000.
        jitter: share of each wait that is random, 0 (none) to 1 (full).
        attempts: give up after so many attempts; ``None`` for never.
        total: give up when so many seconds have passed since the first attempt; ``None`` for never.
        reset_after: a link that was up for so many seconds makes the waits start over.
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
                raise TypeError(f"{name}={value!r} is not a number; see the attributes of Backoff")
        rules = {
            "first": self.first > 0,
            "factor": self.factor >= 1,
            "cap": self.first <= self.cap <= 1_000_000,
            "jitter": 0 <= self.jitter <= 1,
            "attempts": self.attempts is None or self.attempts >= 1,
            "total": self.total is None or self.total >= 0,
            "reset_after": self.reset_after >= 0,
        }
        for name, holds in rules.items():
            if not holds:  # a NaN makes every comparison false, so it ends here too
                raise ValueError(f"{name}={getattr(self, name)!r} is not possible; see the attributes of Backoff")

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


def _is_number(value: object, *, whole: bool) -> bool:
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
