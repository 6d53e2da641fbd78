"""What a fault is: a frozen value that says which steps a simulator takes instead of just moving bytes."""

from __future__ import annotations

import dataclasses
import enum
import math
import random
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal

__all__ = ["Direction", "Ending", "Fault", "Held", "Stage", "Step", "StreamFault", "option"]

Direction = Literal["in", "out", "both"]


class Ending(enum.Enum):
    """What can happen to a link."""

    CLOSE = "close"
    RESET = "reset"
    HALF_OPEN = "half open"


Step = bytes | float | Ending
"""Pass these bytes on, wait so many seconds, or do this to the link."""

Stage = Callable[[bytes], Iterator[Step]]
"""Turns a chunk of one direction of one link into steps; it may remember earlier chunks."""


class Held(ABC):
    """A stage that keeps bytes back; called with no bytes it gives them away.

    Attributes:
        within: seconds after which they are asked for.
        data: the bytes.
    """

    within: float
    data: bytes

    @abstractmethod
    def __call__(self, data: bytes) -> Iterator[Step]:
        """Take a chunk."""


def option(default: float, minimum: float = 0, maximum: float = math.inf) -> Any:
    """Return a field for a number; an ``int`` as default makes it a whole number."""
    return dataclasses.field(default=default, metadata={"minimum": minimum, "maximum": maximum})


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way in which a link misbehaves. The classes are named in lower case, as they are written in texts.

    Raises:
        TypeError, ValueError: an option is not a number, or out of its range.
    """

    in_text: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.metadata:
                self._check_number(field)

    def _check_number(self, field: dataclasses.Field[Any]) -> None:
        value = getattr(self, field.name)
        what = f"{field.name} of {type(self).__name__}"
        whole = isinstance(field.default, int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise TypeError(f"{what} is a {'whole number' if whole else 'number'}, not {value!r}")
        minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
        if not minimum <= value <= maximum:
            raise ValueError(f"{what} is from {minimum:g} to {maximum:g}, not {value!r}")

    @classmethod
    def options(cls) -> list[dataclasses.Field[Any]]:
        """Return the fields, those without a keyword first."""
        return sorted(dataclasses.fields(cls), key=lambda field: field.kw_only is True)

    def __str__(self) -> str:
        values = [(field.name, getattr(self, field.name), field.default) for field in self.options()]
        changed = [f"{name}={value}" for name, value, default in values[1:] if value != default]
        return ",".join([f"{type(self).__name__}={values[0][1]}", *changed])

    def arrival(self, number: int, tls: bool) -> Iterable[Step]:
        """Return the steps before client ``number``, the first one being 0, is served and its TLS handshake done."""
        return ()

    def timed(self) -> tuple[float, Ending] | None:
        """Return what happens to every link how many seconds after its start."""
        return None

    def outage(self) -> tuple[float, float] | None:
        """Return after how many seconds the whole simulator is gone, and for how many."""
        return None

    def certificate(self) -> ssl.SSLContext | None:
        """Return the context to serve TLS with instead of the right one."""
        return None

    def stage(self, direction: str, random: random.Random) -> Stage | None:
        """Return what happens to the chunks of one direction of one link."""
        return None


@dataclasses.dataclass(frozen=True)
class StreamFault(Fault, ABC):
    """A fault of the bytes.

    Args:
        direction: ``"out"`` is what the client receives, ``"in"`` what it sends, ``"both"``. A chunk is what the
            simulator writes at once, which mostly is one message, or what it receives at once.
    """

    direction: Direction = dataclasses.field(default="out", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in ("in", "out", "both"):
            raise ValueError(f"direction of {type(self).__name__} is in, out or both, not {self.direction!r}")

    def stage(self, direction: str, random: random.Random) -> Stage | None:
        """Return the stage where the direction is the fault's own."""
        return self.apply(random) if self.direction in (direction, "both") else None

    @abstractmethod
    def apply(self, random: random.Random) -> Stage:
        """Return a new stage, which draws all its chances from ``random``."""
