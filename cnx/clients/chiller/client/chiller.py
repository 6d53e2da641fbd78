"""A chiller on a line of its own: TCP adapter, RS-232 or USB."""

from __future__ import annotations

from typing_extensions import Unpack

from cnx.clients.chiller.client.commands import ChillerCommands
from cnx.clients.chiller.client.line import ChillerLine, LineSettings, Source
from cnx.clients.chiller.client.settings import Thresholds
from cnx.clients.chiller.protocol import frames
from cnx.clients.chiller.protocol.frames import Answer
from cnx.deadline import Deadline

__all__ = ["ChillerClient"]


class ChillerClient(ChillerLine, ChillerCommands):
    """A connection to one ThermoTek chiller (T257P and others). Thread-safe.

    It is connected once the unit has answered and its configuration has been applied. ::

        with ChillerClient("tcp://adapter:4001") as chiller:
            chiller.set_temperature(18.5)
            chiller.start()
            print(chiller.supply_temperature(), "degrees Celsius")

    Args:
        source: a URL, a connection whose transport is used, or an open transport, which serves one link.
        device_id: 1 to 32, also as text; 1 except on RS-485.
        thresholds: applied on every new link.
        setpoint: degrees Celsius, applied on every new link.
        **settings: the other arguments of :class:`~cnx.clients.chiller.client.line.ChillerLine`.

    Raises:
        ValueError, TypeError: an argument is invalid; nothing was opened.
    """

    def __init__(
        self,
        source: Source,
        device_id: int | str = 1,
        *,
        thresholds: Thresholds | None = None,
        setpoint: float | None = None,
        **settings: Unpack[LineSettings],
    ) -> None:
        self.device_id = frames.checked_device_id(device_id)
        super().__init__(source, **settings)
        self.configure(thresholds, setpoint)

    @property
    def line(self) -> ChillerLine:
        """The connection to the line of the unit: the client itself."""
        return self

    def prepare(self, deadline: Deadline) -> None:
        """Configure the unit and check that it answers."""
        super().prepare(deadline)
        self.watchdog()

    def run_command(self, cmd: str) -> Answer:
        """Send a command given as number, name and data, such as ``"17sCtrlT__+0200"``, and return the answer.

        Raises:
            ValueError, TypeError: the table has no such command; nothing was sent.
            DeviceError, TimedOut, ProtocolError, ConnectionError: see :class:`ChillerCommands`.
        """
        return self.exchange(frames.parse_text(cmd, self.device_id))

    def format_full_command(self, cmd: str) -> bytes:
        """Return the frame of a command given as number, name and data."""
        return frames.format_full_command(cmd, self.device_id)

    @staticmethod
    def compute_checksum(frame: str | bytes) -> str:
        """Return the checksum of ``frame`` as two upper-case hexadecimal digits."""
        return frames.compute_checksum(frame)
