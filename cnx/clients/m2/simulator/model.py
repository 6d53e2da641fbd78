"""The simulated cell as seen from its two ports: messages in, messages out. Time is passed in; no I/O.

To a client it behaves like the mock server of ``ts_m2com`` 1.5.16, with one exception: it answers bad content with
``fail``, or ignores it, while the mock server stops responding for good.
"""

from __future__ import annotations

import math
import random
from typing import Any

from cnx.clients.m2.protocol.enums import CommandStatus, PowerType
from cnx.clients.m2.protocol.faults import FAULTS, Fault
from cnx.clients.m2.protocol.messages import MAX_SEQUENCE_ID, Kind, kind_of
from cnx.clients.m2.protocol.table import COMMANDS
from cnx.clients.m2.simulator.commands import execute
from cnx.clients.m2.simulator.mirror import Message, Mirror
from cnx.clients.m2.simulator.state import CellState, welcome

__all__ = ["CellModel"]

TURN = 0.05
"""Seconds between two rounds of the controller's loop."""

MOST_TURNS = 20
"""Turns that a call of ``advance()`` makes up for, at most; it skips earlier ones."""

FIRST_FAULT = 6053
"""Raised by the mock server after every start."""

CLOSED_LOOP_LIMITS = (444.82, 5800.0)
OPEN_LOOP_LIMITS = (489.3, 6005.1)
OPEN_LOOP_MAX_LIMITS = (622.75, 6227.51)
"""Newton, axial and tangent."""

DISPLACEMENTS = {
    "thetaZ": (14749.0, 14889.0, 14427.0, 14980.0, 15526.0, 14820.0),
    "deltaZ": (17688.0, 16521.0, 16702.0, 16886.0, 15687.0, 16990.0),
}


class CellModel:
    """The cell. Not thread-safe.

    Args:
        now: seconds on any clock that only goes forward.
        seed: seed of the noise; the same seed gives the same telemetry.
        strict: refuse a command whose sequence id does not follow the one before, with a ``noack`` for the missing id.
            The "M2 TCP/IP communication protocol" requires it; the mock server does not do it.
        greets_all: send the welcome messages to every client of the command port.
    """

    def __init__(self, now: float = 0.0, *, seed: int = 0, strict: bool = False, greets_all: bool = False) -> None:
        self._noise = random.Random(seed)
        self._next = now + TURN
        self._turns = 0
        self._strict = strict
        self._greets_all = greets_all
        self._greeted = False
        self._last_id: Any = None
        self.cell = CellState(Mirror(self._noise))

    def greet(self) -> list[Message]:
        """Return the messages for a new client of the command port, whose sequence ids may start anywhere.

        As with the mock server, only the first client gets the welcome messages, and a fault after them.
        """
        self.cell.take_events()
        self._last_id = None
        if self._greeted and not self._greets_all:
            return []
        greeting = list(welcome(self.cell))
        if not self._greeted:
            self._greeted = True
            self.raise_faults(FIRST_FAULT)
        return [*greeting, *self.cell.take_events()]

    def answer(self, message: Any) -> list[Message]:
        """Return the waiting events and the answer of the command port, which is empty if it ignores the message."""
        if kind_of(message) is Kind.EVENT and message["id"] == "evt_mountInPosition":
            self.cell.mount_in_position = bool(message.get("inPosition"))
        if kind_of(message) is not Kind.COMMAND or "sequence_id" not in message:
            return self.cell.take_events()
        events = self.cell.take_events()
        number = message["sequence_id"]
        missing = self._missing(number)
        name = message["id"].removeprefix("cmd_")
        if name not in COMMANDS or missing is not None:
            return [*events, _status(CommandStatus.NOACK, number if missing is None else missing)]
        values = {field.name: message[field.name] for field in COMMANDS[name].parameters if field.name in message}
        done = CommandStatus.SUCCESS if execute(self.cell, name, values) else CommandStatus.FAIL
        return [*events, _status(CommandStatus.ACK, number), *self.cell.take_events(), _status(done, number)]

    def _missing(self, number: Any) -> int | None:
        """Return the sequence id that was expected, if it was another one."""
        last, self._last_id = self._last_id, number
        if not self._strict or not isinstance(last, int):
            return None
        expected = 1 if last == MAX_SEQUENCE_ID else last + 1
        return None if number == expected else expected

    def take_telemetry(self, message: Any) -> None:
        """Take a message from the telemetry port: the elevation of the telescope. Others are ignored."""
        if not isinstance(message, dict) or str(message.get("compName")).lower() != "mtmount":
            return
        angle = message.get("actualPosition")
        if (
            str(message.get("id")).lower() == "tel_elevation"
            and isinstance(angle, (int, float))
            and math.isfinite(angle)
        ):
            self.cell.mirror.telescope_elevation = angle

    def telemetry(self) -> list[Message]:
        """Return one round of telemetry."""
        motor, communication = self.cell.powered[PowerType.MOTOR], self.cell.powered[PowerType.COMMUNICATION]
        messages: list[Message] = [
            {
                "id": topic,
                "motorVoltage": self._reading(23.0 * motor),
                "motorCurrent": self._reading(8.5 * motor),
                "commVoltage": self._reading(23.0 * communication),
                "commCurrent": self._reading(6.5 * communication),
            }
            for topic in ("powerStatusRaw", "powerStatus")
        ]
        sensors = {name: [self._reading(value) for value in values] for name, values in DISPLACEMENTS.items()}
        messages.append({"id": "displacementSensors", **sensors})
        if motor:
            messages.append({"id": "ilcData", "status": [self._turns % 16 * 16] * 78})
            messages.extend(self.cell.mirror.telemetry())
        return messages

    def _reading(self, value: float) -> float:
        return value + self._noise.gauss(0.0, 0.05)

    def advance(self, now: float) -> None:
        """Let time pass up to ``now``; events report what happens meanwhile."""
        self._next = max(self._next, now - MOST_TURNS * TURN)
        while self._next <= now:
            self._next += TURN
            self._turn()

    def _turn(self) -> None:
        cell, mirror = self.cell, self.cell.mirror
        self._turns += 1
        mirror.drift()
        if cell.script.running:
            cell.script.progress += 1
            cell.script.running = cell.script.progress < 100
            cell.report("scriptExecutionStatus")
        if cell.moving:
            mirror.move_actuators(TURN)
            cell.moving = bool(mirror.to_move)
        if cell.powered[PowerType.MOTOR]:
            mirror.turn(TURN, cell.closed_loop)
            self._check_forces()
            self._check_angles()
        self.raise_faults(*cell.due_faults)
        cell.due_faults = []
        cell.in_position = mirror.in_position
        if cell.in_position:
            cell.report("m2AssemblyInPosition")

    def _check_forces(self) -> None:
        cell = self.cell
        open_loop = OPEN_LOOP_MAX_LIMITS if cell.open_loop_max else OPEN_LOOP_LIMITS
        beyond = cell.mirror.beyond(*(CLOSED_LOOP_LIMITS if cell.closed_loop else open_loop))
        if any(beyond):
            self.raise_faults(6056 if cell.closed_loop else 6057)
        if beyond != cell.limit_switches:
            cell.limit_switches = beyond
            if cell.open_loop_max:
                cell.report("limitSwitchStatus")

    def _check_angles(self) -> None:
        limit, mirror = self.cell.angle_limit, self.cell.mirror
        if limit is not None and abs(mirror.telescope_elevation - mirror.processed_angle) > limit:
            self.raise_faults(6060)

    def raise_faults(self, *codes: int) -> None:
        """Raise faults and warnings by their codes, unless they are masked or already raised.

        Raises:
            ValueError: there is no such code.
        """
        unknown = [code for code in codes if code not in FAULTS]
        if unknown:
            raise ValueError(f"no fault has the code {unknown[0]}; the codes: {', '.join(map(str, sorted(FAULTS)))}")
        cell = self.cell
        new = [FAULTS[code] for code in codes if FAULTS[code].mask & cell.faults_mask & ~cell.faults]
        if not new:
            return
        if any(map(_stops, new)):
            self._stop_all()
        for fault in new:
            cell.faults |= fault.mask
        cell.report("summaryFaultsStatus")

    def _stop_all(self) -> None:
        cell = self.cell
        cell.closed_loop = cell.moving = cell.script.running = False
        cell.mirror.to_move = {}
        cell.mirror.applied = [0.0] * len(cell.mirror.applied)
        cell.mirror.target = dict(cell.mirror.position)
        cell.report("forceBalanceSystemStatus")


def _stops(fault: Fault) -> bool:
    """Return whether a fault stops the mirror. The mock server treats 6057 as a fault, although it is a warning."""
    return not fault.warning or fault.code == 6057


def _status(status: CommandStatus, sequence_id: Any) -> Message:
    return {"id": status.value, "sequence_id": sequence_id}
