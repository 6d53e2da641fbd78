"""Fault: a frozen value that decides which steps a simulator takes instead of just passing bytes on."""

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
    """How a fault ends or freezes a link."""

    CLOSE = "close"
    RESET = "reset"
    HALF_OPEN = "half open"


Step = bytes | float | Ending
"""Pass these bytes on, wait so many seconds, or end the link in this way."""

Stage = Callable[[bytes], Iterator[Step]]
"""Turns a chunk of one direction of one link into steps; it may keep state between chunks."""


class Held(ABC):
    """A stage that holds bytes back; called with ``b""`` it releases them.

    Attributes:
        within: seconds after which it is asked to release them.
        data: the bytes that it holds.
    """

    within: float
    data: bytes

    @abstractmethod
    def __call__(self, data: bytes) -> Iterator[Step]:
        """Turn a chunk into steps."""


def option(default: float, minimum: float = 0, maximum: float = math.inf) -> Any:
    """Return a field for a number; an ``int`` as default makes it a whole number."""
    return dataclasses.field(default=default, metadata={"minimum": minimum, "maximum": maximum})


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way in which a link misbehaves. The names of the classes are in lower case, as in the text form.

    Raises:
        TypeError, ValueError: an option is not a number, or out of range.
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
            raise TypeError(f"{what} must be a {'whole number' if whole else 'number'}, not {value!r}")
        minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
        if not minimum <= value <= maximum:
            raise ValueError(f"{what} must be between {minimum:g} and {maximum:g}, not {value!r}")

    @classmethod
    def options(cls) -> list[dataclasses.Field[Any]]:
        """Return the fields, those without a keyword first."""
        return sorted(dataclasses.fields(cls), key=lambda field: field.kw_only is True)

    def __str__(self) -> str:
        values = [(field.name, getattr(self, field.name), field.default) for field in self.options()]
        changed = [f"{name}={value}" for name, value, default in values[1:] if value != default]
        return ",".join([f"{type(self).__name__}={values[0][1]}", *changed])

    def arrival(self, number: int, tls: bool) -> Iterable[Step]:
        """Return the steps to take before the TLS handshake and the service of client ``number``, counted from 0."""
        return ()

    def timed(self) -> tuple[float, Ending] | None:
        """Return the seconds from the start of every link, and how it ends then."""
        return None

    def outage(self) -> tuple[float, float] | None:
        """Return the seconds until the whole simulator vanishes, and for how many seconds."""
        return None

    def certificate(self) -> ssl.SSLContext | None:
        """Return the context to serve TLS with instead of the right one."""
        return None

    def stage(self, direction: str, random: random.Random) -> Stage | None:
        """Return a new stage for the chunks of one direction of one link; ``None`` to pass them on unchanged."""
        return None


@dataclasses.dataclass(frozen=True)
class StreamFault(Fault, ABC):
    """A fault of the bytes.

    Args:
        direction: ``"out"`` for what the client receives, ``"in"`` for what it sends, or ``"both"``. A chunk is what
            the simulator writes in one call, usually one message, or what it receives in one call.
    """

    direction: Direction = dataclasses.field(default="out", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in ("in", "out", "both"):
            raise ValueError(f"direction of {type(self).__name__} must be in, out or both, not {self.direction!r}")

    def stage(self, direction: str, random: random.Random) -> Stage | None:
        """Return a new stage if the fault applies to this direction."""
        return self.apply(random) if self.direction in (direction, "both") else None

    @abstractmethod
    def apply(self, random: random.Random) -> Stage:
        """Return a new stage, which takes all its random decisions from ``random``."""
