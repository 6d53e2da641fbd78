"""One chiller as a program sees it: its commands, how it shall be set, and its status."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from cnx.clients.chiller.client.commands import ChillerCommands, call_of
from cnx.clients.chiller.client.link import ChillerLink
from cnx.clients.chiller.client.settings import Thresholds
from cnx.clients.chiller.client.status import Status, optional, read_telemetry
from cnx.clients.chiller.protocol.frames import Call
from cnx.clients.chiller.protocol.values import Warnings

__all__ = ["Chiller"]


class Chiller(ChillerCommands):
    """A unit on a line, with its configuration, which is applied again on every new link. Thread-safe."""

    _thresholds = Thresholds()
    _setpoint: float | None = None

    @property
    @abstractmethod
    def line(self) -> ChillerLink:
        """The connection that leads to it."""

    def configure(self, thresholds: Thresholds | None = None, setpoint: float | None = None) -> None:
        """Set thresholds and set point now, if there is a link, and again on every new link before it is used.

        Args:
            thresholds: in place of those given before; ``None`` keeps those.
            setpoint: degrees Celsius, within the supply warning thresholds; ``None`` keeps the last one.

        Raises:
            ValueError, TypeError: a value cannot be; nothing was sent.
            DeviceError: the unit refused one; the configuration from before stays in force for new links.
            TimedOut, ProtocolError, ConnectionError: see :class:`ChillerCommands`.
        """
        limits = self._thresholds if thresholds is None else thresholds
        wanted = self._setpoint if setpoint is None else setpoint
        setup: dict[str, Sequence[Call]] = {}
        if setpoint is not None:
            setup["setpoint"] = [self._setting(17, setpoint)]
        if wanted is not None:
            limits.check_setpoint(wanted)
        if thresholds is not None:
            setup["thresholds"] = [self._setting(which.value, value) for which, value in thresholds.items()]
        (self.line.set_up if self.line.connected else self.line.keep_setup)(self.device_id, setup)
        self._thresholds, self._setpoint = limits, wanted

    def set_temperature(self, celsius: float) -> None:
        """Set the set point in degrees Celsius (17), now and on every new link.

        Raises:
            ValueError: it is outside of the configured supply warning thresholds; nothing was sent.
        """
        setting = self._setting(17, celsius)
        self._thresholds.check_setpoint(celsius)
        self.line.set_up(self.device_id, {"setpoint": [setting]})
        self._setpoint = celsius

    def status(self) -> Status:
        """Return everything that can be read without a side effect; takes about 15 commands."""
        watchdog = self.watchdog()
        warnings = (optional(self.warnings) if watchdog.warning else None) or Warnings(0)
        return Status(*watchdog, warnings, optional(self.uptime), read_telemetry(self))

    def _setting(self, number: int, value: float) -> Call:
        """Return the command that sets a value."""
        return call_of(self.device_id, number, "", value)
