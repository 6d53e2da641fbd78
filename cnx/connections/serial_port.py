"""Connections over serial ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from typing_extensions import Unpack

from cnx.connections.stream import StreamConnection, StreamSettings
from cnx.deadline import Deadline
from cnx.transports.serial_ports import checked_port, open_serial
from cnx.transports.transport import Transport

__all__ = ["SerialConnection", "SerialSettings"]

_CHOICES: dict[str, tuple[Any, ...]] = {
    "bytesize": (5, 6, 7, 8),
    "parity": ("N", "E", "O", "M", "S"),
    "stopbits": (1, 1.5, 2),
    "xonxoff": (True, False),
    "rtscts": (True, False),
    "dsrdtr": (True, False),
    "exclusive": (True, False, None),
}


class SerialSettings(StreamSettings, total=False):
    """The settings of a serial port beside the port; see :class:`SerialConnection`."""

    baudrate: int
    bytesize: int
    parity: str
    stopbits: float
    xonxoff: bool
    rtscts: bool
    dsrdtr: bool
    exclusive: bool | None


class SerialConnection(StreamConnection):
    """A serial port, opened and configured by pyserial.

    Args:
        port: a device such as ``/dev/ttyUSB0`` or ``COM3``, or a URL of pyserial: ``loop://``, ``socket://host:port``,
            ``rfc2217://host:port`` and the others.
        baudrate: bits per second.
        bytesize: data bits, 5 to 8.
        parity: ``"N"``, ``"E"``, ``"O"``, ``"M"`` or ``"S"``.
        stopbits: 1, 1.5 or 2.
        xonxoff: flow control by software.
        rtscts: flow control by the lines RTS and CTS.
        dsrdtr: flow control by the lines DSR and DTR.
        exclusive: refuse the port to other programs (POSIX).
        **settings: see :class:`~cnx.StreamConnection`.
    """

    def __init__(
        self,
        port: str,
        baudrate: int = 9600,
        bytesize: int = 8,
        parity: str = "N",
        stopbits: float = 1,
        *,
        xonxoff: bool = False,
        rtscts: bool = False,
        dsrdtr: bool = False,
        exclusive: bool | None = None,
        **settings: Unpack[StreamSettings],
    ) -> None:
        if not isinstance(baudrate, int) or isinstance(baudrate, bool) or baudrate < 1:
            raise ValueError(f"baudrate must be a number of bits per second, not {baudrate!r}")
        line = {
            "baudrate": baudrate,
            "bytesize": bytesize,
            "parity": parity,
            "stopbits": stopbits,
            "xonxoff": xonxoff,
            "rtscts": rtscts,
            "dsrdtr": dsrdtr,
            "exclusive": exclusive,
        }
        for name, choices in _CHOICES.items():
            if line[name] not in choices:
                raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, not {line[name]!r}")
        super().__init__(SerialOpener(checked_port(port), line), **settings)


@dataclass(frozen=True)
class SerialOpener:
    """How to open and configure a serial port."""

    port: str
    line: dict[str, Any]

    @property
    def address(self) -> str:
        """The device or URL."""
        return self.port

    def open(self, deadline: Deadline) -> Transport:
        """Open it."""
        line = dict(self.line)
        if "://" in self.port:
            line.pop("exclusive")  # only devices of this machine can be locked
        return open_serial(self.port, line, deadline)

    def discard(self) -> None:
        """Nothing is open yet."""
