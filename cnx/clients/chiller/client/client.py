"""A chiller on a line of its own: TCP adapter, RS-232 or USB."""

from __future__ import annotations

from typing import Any

from cnx.clients.chiller.client.chiller import Chiller
from cnx.clients.chiller.client.line import Source
from cnx.clients.chiller.client.link import ChillerLink
from cnx.clients.chiller.client.settings import Thresholds
from cnx.clients.chiller.protocol import frames as protocol
from cnx.clients.chiller.protocol.frames import Answer
from cnx.deadline import Deadline

__all__ = ["ChillerClient"]


class ChillerClient(ChillerLink, Chiller):
    """A connection to one ThermoTek chiller (T257P and others). Thread-safe.

    It counts as connected when the unit has answered and its configuration is applied. ::

        with ChillerClient("tcp://adapter:4001") as chiller:
            chiller.set_temperature(18.5)
            chiller.start()
            print(chiller.supply_temperature(), "degrees Celsius")

    Args:
        source: a URL, a connection that tells how to open the line, or an open transport.
        device_id: 1 to 32, also as text; 1 except on RS-485.
        thresholds: applied on every new link.
        setpoint: degrees Celsius, applied on every new link.
        **settings: see :class:`~cnx.clients.chiller.client.link.ChillerLink`.

    Raises:
        ValueError, TypeError: an argument cannot be; nothing was opened.
    """

    def __init__(
        self,
        source: Source,
        device_id: int | str = 1,
        *,
        thresholds: Thresholds | None = None,
        setpoint: float | None = None,
        **settings: Any,
    ) -> None:
        self.device_id = protocol.checked_device_id(device_id)
        super().__init__(source, **settings)
        self.configure(thresholds, setpoint)

    @property
    def line(self) -> ChillerLink:
        """The connection that leads to it: this one."""
        return self

    def prepare(self, deadline: Deadline) -> None:
        """Configure the unit and see that it is there."""
        super().prepare(deadline)
        self.watchdog()

    def run_command(self, cmd: str) -> Answer:
        """Send a command given as number, name and data, such as ``"17sCtrlT__+0200"``, and return the answer.

        Raises:
            ValueError, TypeError: it is no command of the table; nothing was sent.
            DeviceError, TimedOut, ProtocolError, ConnectionError: see :class:`ChillerCommands`.
        """
        return self.exchange(protocol.parse_text(cmd, self.device_id))

    def format_full_command(self, cmd: str) -> bytes:
        """Return the frame for a command given as number, name and data."""
        return protocol.format_full_command(cmd, self.device_id)

    @staticmethod
    def compute_checksum(frame: str | bytes) -> str:
        """Return the checksum of everything before it, as two upper-case hexadecimal digits."""
        return protocol.compute_checksum(frame)
