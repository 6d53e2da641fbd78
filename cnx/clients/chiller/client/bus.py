"""Several chillers on one line: RS-485, or one TCP adapter in front of it."""

from __future__ import annotations

from cnx.clients.chiller.client.commands import ChillerCommands
from cnx.clients.chiller.client.line import ChillerLine
from cnx.clients.chiller.client.settings import Thresholds
from cnx.clients.chiller.protocol.frames import Answer, Call, checked_device_id

__all__ = ["BusUnit", "ChillerBus"]


class BusUnit(ChillerCommands):
    """One chiller on a shared line; made by :meth:`ChillerBus.unit`. Thread-safe."""

    def __init__(self, bus: ChillerBus, device_id: int) -> None:
        self.device_id = device_id
        self._bus = bus

    @property
    def line(self) -> ChillerLine:
        """The connection to the line of the unit: the bus."""
        return self._bus

    def exchange(self, call: Call) -> Answer:
        """Send one command when it is this unit's turn; see :meth:`ChillerBus.exchange`."""
        return self._bus.exchange(call)


class ChillerBus(ChillerLine):
    """A connection to a line with up to 32 chillers, served in fair turns. Thread-safe.

    It is connected once the line is open. Each unit is configured before the first command to it, so a unit
    that does not answer affects only commands to that unit; the others wait for its reply timeout at most. ::

        with ChillerBus("serial:///dev/ttyUSB0") as bus:
            temperatures = [bus.unit(number).supply_temperature() for number in range(2, 33)]
    """

    def unit(
        self, device_id: int | str, *, thresholds: Thresholds | None = None, setpoint: float | None = None
    ) -> BusUnit:
        """Return the unit with this id.

        Args:
            device_id: 1 to 32 (2 to 32 on RS-485), as set on the keypad of the unit.
            thresholds: applied on every new link.
            setpoint: degrees Celsius, applied on every new link.

        Raises:
            ValueError, TypeError: an argument is invalid; nothing was sent.
        """
        unit = BusUnit(self, checked_device_id(device_id))
        if thresholds is not None or setpoint is not None:
            unit.configure(thresholds, setpoint)
        return unit
