"""The numbers by which a connector treats the service."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Rules"]


@dataclass(frozen=True)
class Rules:
    """When a keepalive is due, how many requests may be on their way, and when the service is too slow.

    Attributes:
        latency_threshold: seconds from which on an answer is slow.
        latency_count: so many slow answers in a row are too many.
        max_outstanding: requests that may wait for their answers.
        keepalive_interval: seconds without a request after which a keepalive is due.
        silence_limit: seconds that an answer may be missing while nothing else comes; ``None`` for no limit.

    Raises:
        ValueError, TypeError: one of them cannot be.
    """

    latency_threshold: float
    latency_count: int
    max_outstanding: int
    keepalive_interval: float
    silence_limit: float | None

    def __post_init__(self) -> None:
        for name in ("latency_count", "max_outstanding"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} is a whole number, at least 1, not {getattr(self, name)!r}")
        for name in ("latency_threshold", "keepalive_interval", "silence_limit"):
            value = getattr(self, name)
            if not (value is None and name == "silence_limit") and not value > 0:
                raise ValueError(f"{name} is a number of seconds above 0, not {value!r}")
