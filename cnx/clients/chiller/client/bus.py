"""Several chillers on one line: RS-485, or one TCP adapter in front of it."""

from __future__ import annotations

from cnx.clients.chiller.client.chiller import Chiller
from cnx.clients.chiller.client.link import ChillerLink
from cnx.clients.chiller.client.settings import Thresholds
from cnx.clients.chiller.protocol.frames import Answer, Call, checked_device_id

__all__ = ["BusUnit", "ChillerBus"]


class BusUnit(Chiller):
    """One chiller on a shared line; made by :meth:`ChillerBus.unit`."""

    def __init__(self, bus: ChillerBus, device_id: int) -> None:
        self.device_id = device_id
        self._bus = bus

    @property
    def line(self) -> ChillerLink:
        """The connection that leads to it: the bus."""
        return self._bus

    def exchange(self, call: Call) -> Answer:
        """Send one command when it is this unit's turn."""
        return self._bus.exchange(call)


class ChillerBus(ChillerLink):
    """A connection to a line with up to 32 chillers, which it serves in fair turns. Thread-safe.

    It counts as connected when the line is open. Units are configured before the first command to each, so
    one that does not answer holds up nobody but those who ask it, and the others for its reply timeout. ::

        with ChillerBus("serial:///dev/ttyUSB0") as bus:
            temperatures = [bus.unit(number).supply_temperature() for number in range(2, 33)]
    """

    def unit(
        self, device_id: int | str, *, thresholds: Thresholds | None = None, setpoint: float | None = None
    ) -> BusUnit:
        """Return the unit with this id, 1 to 32 (2 to 32 on RS-485).

        Args:
            device_id: as set on its keypad.
            thresholds: applied on every new link.
            setpoint: degrees Celsius, applied on every new link.

        Raises:
            ValueError, TypeError: an argument cannot be; nothing was sent.
        """
        unit = BusUnit(self, checked_device_id(device_id))
        if thresholds is not None or setpoint is not None:
            unit.configure(thresholds, setpoint)
        return unit
