"""The link to one or more chillers: threads take turns, and every unit is set up before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnx.clients.chiller.client.line import ChillerLine, Source
from cnx.clients.chiller.client.turns import Turn, Turns
from cnx.clients.chiller.protocol.frames import Answer, Call
from cnx.deadline import Deadline
from cnx.link.link import Link

__all__ = ["ChillerLink", "Setup"]

Setup = Mapping[str, Sequence[Call]]
"""Commands that set a unit up, in groups; a group takes the place of an older one of the same name."""

WAITS = 40
"""Reply timeouts to wait for the line, at least: a little more than one turn of a bus of which no unit answers."""

TURN_TIMEOUT = 120.0
"""Seconds to wait for the line, at least."""


class ChillerLink(ChillerLine):
    """A connection to a line with chillers on it. Thread-safe; commands of several threads take turns.

    Args:
        source: a URL such as ``tcp://adapter:4001`` or ``serial:///dev/ttyUSB0?baudrate=9600&xonxoff=1``, a
            connection that tells how to open the line, or an open transport, which serves one link.
        **settings: see :class:`~cnx.clients.chiller.client.line.ChillerLine`.
    """

    def __init__(self, source: Source, **settings: Any) -> None:
        super().__init__(source, **settings)
        self._turns = Turns()
        self._setups: dict[int, dict[str, Sequence[Call]]] = {}  # by device id
        self._unprepared: set[int] = set()  # of the present link; each has a set of its own

    def prepare(self, deadline: Deadline) -> None:
        """Note that every unit has to be set up again."""
        super().prepare(deadline)
        self._unprepared = set()
        self._unprepared.update(self._setups)  # in this order, so that a setup that comes now is seen here or there

    def exchange(self, call: Call) -> Answer:
        """Send one command and return the answer to it, when no other command is under way.

        Raises:
            DeviceError: the unit refused; the link stays up.
            TimedOut: no reply came in time; the link stays up.
            ProtocolError: the reply was damaged; the link stays up.
            NotConnected, ConnectionLost: there is no link, or it ended before the reply.
        """
        turn = Turn(call.device_id)
        try:
            link = self._begin(turn)
            unprepared = self._unprepared
            if turn.key in unprepared:
                self._apply(link, self._setups[turn.key])
                unprepared.discard(turn.key)
            return self._run(link, call)
        finally:
            turn.over = True  # in one step: an interrupt must not leave it behind
            self._turns.pass_on()

    def set_up(self, device_id: int, setup: Setup) -> None:
        """Do these commands now, and keep them if all succeed; raises like :meth:`exchange`."""
        turn = Turn(device_id)
        try:
            link = self._begin(turn)
            unprepared = self._unprepared
            kept = self._setups.get(device_id, {}) if device_id in unprepared else {}
            self._apply(link, {**kept, **setup})
            self._setups.setdefault(device_id, {}).update(setup)
            unprepared.discard(device_id)
        finally:
            turn.over = True
            self._turns.pass_on()

    def keep_setup(self, device_id: int, setup: Setup) -> None:
        """Have these commands done on every new link, before anything else is asked of the unit."""
        self._setups.setdefault(device_id, {}).update(setup)
        self._unprepared.add(device_id)

    def _begin(self, turn: Turn) -> Link:
        """Wait for the turn and for what the unit has not answered; return the link, whose end ends the turn."""
        link = self._current()
        if not self._turns.claim(turn):
            self._turns.wait(turn, self._patience_for_turn(link))
            link = self._current()
        if self._awaited[turn.key]:
            self._catch_up(link, turn.key)
        return link

    def _patience_for_turn(self, link: Link) -> float:
        """Return the seconds to wait for the line, which are less while the link is being prepared."""
        seconds = max(TURN_TIMEOUT, WAITS * self.reply_timeout)
        left = None if link.patience is None else link.patience.remaining()
        return seconds if left is None else min(seconds, left)

    def _apply(self, link: Link, setup: Setup) -> None:
        for calls in tuple(setup.values()):
            for call in calls:
                self._run(link, call)
