"""Replay: a simulator that acts as the recorded peer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

from cnx.errors import TimedOut
from cnx.framing import shorten
from cnx.logs import logger
from cnx.recording.recorder import ENDED, OPENED, Record
from cnx.simulation import Session, Simulator

__all__ = ["Difference", "Replay"]

log = logger(__name__)

PATIENCE = 10.0
KEPT = 1000


class Difference(NamedTuple):
    """A difference between what a client sent and the recording.

    Attributes:
        session: number of the client, from 0.
        position: number of bytes before it that were as recorded.
        expected: what was recorded.
        got: what it sent.
    """

    session: int
    position: int
    expected: bytes
    got: bytes

    def __str__(self) -> str:
        what = shorten(self.got) if self.got else "nothing"
        wanted = shorten(self.expected) if self.expected else "nothing"
        return f"client {self.session} sent {what} instead of {wanted}, after {self.position} bytes"


class Replay(Simulator):
    """Answers every client as the recorded peer did, and notes where a client sends something else.

    The first client gets the first recorded link, the next client the next link, and so on, starting over after the
    last one. What the peer sent is sent in the same pieces, with the same delay after what it had received.

    Args:
        records: a recording with whole pieces, as :class:`~cnx.recording.tape.Tape` writes it.
        speed: 2.0 replays twice as fast, ``math.inf`` without any pause.
        patience: seconds to wait for what a client should send before the replay goes on.
        on_difference: called for each difference, on the thread of that client.

    Attributes:
        differences: the last 1000 differences.

    Raises:
        ValueError: the speed is not above 0, or the recording is empty or has pieces that were shortened.
    """

    def __init__(
        self,
        records: Iterable[Record],
        *,
        speed: float = 1.0,
        patience: float = PATIENCE,
        on_difference: Callable[[Difference], object] | None = None,
        name: str = "replay",
    ) -> None:
        super().__init__(name)
        if not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed!r}")
        self._links = links_in(records)
        self._speed = speed
        self._patience = patience
        self._on_difference = on_difference
        self._numbers = count()
        self.differences: deque[Difference] = deque(maxlen=KEPT)

    def serve(self, session: Session) -> None:
        """Replay one link."""
        number = next(self._numbers)
        last, position = math.inf, 0
        for record in self._links[number % len(self._links)]:
            if record.direction == ">":
                position += self._expect(session, number, position, record.data)
            elif session.wait(max(0.0, record.time - last) / self._speed):
                return
            elif record.direction == "<":
                session.write(record.data)
            elif record.text.startswith(ENDED):
                return
            last = record.time
        while data := session.read():
            self._differ(Difference(number, position, b"", data))

    def _expect(self, session: Session, number: int, position: int, expected: bytes) -> int:
        """Read as much as was recorded, and return how many bytes of it were the same."""
        got = b""
        try:
            while len(got) < len(expected) and (data := session.read(len(expected) - len(got), self._patience)):
                got += data
        except TimedOut:
            pass
        same = next((at for at, pair in enumerate(zip(got, expected)) if pair[0] != pair[1]), len(got))  # noqa: B905
        if same < len(expected):
            self._differ(Difference(number, position + same, expected[same:], got[same:]))
        return same

    def _differ(self, difference: Difference) -> None:
        self.differences.append(difference)
        log.warning("%s: %s", self.name, difference)
        if self._on_difference is not None:
            self._on_difference(difference)


def links_in(records: Iterable[Record]) -> list[list[Record]]:
    """Return the records of each link; pieces that were sent directly after one another are joined."""
    links: list[list[Record]] = [[]]
    for record in records:
        if len(record.data) < record.size:
            raise ValueError(
                f"the recording has only {len(record.data)} of {record.size} bytes of a piece; use cnx record"
            )
        link = links[-1]
        if record.direction == "*" and record.text == OPENED:
            links.append([])
        elif link and record.direction == link[-1].direction == ">":
            link[-1] = record._replace(data=link[-1].data + record.data, size=link[-1].size + record.size)
        else:
            link.append(record)
    played = [link for link in links if any(record.direction != "*" for record in link)]
    if not played:
        raise ValueError("the recording has no bytes in it")
    return played
