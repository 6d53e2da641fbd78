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


_WITHOUT_DEVICE = ("socket", "rfc2217", "loop", "cp2110")
"""The schemes of pyserial that open no device of this machine as a file, which could be locked."""


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
        stopbits: 1 or 2; with 5 data bits 1 or 1.5.
        xonxoff: flow control by software.
        rtscts: flow control by the lines RTS and CTS.
        dsrdtr: flow control by the lines DSR and DTR, on Windows; elsewhere the system has none, and this leaves DTR
            as it is when the port is opened.
        exclusive: refuse the port to other programs (POSIX).
        **settings: see :class:`~cnx.StreamConnection`.

    Raises:
        TypeError, ValueError: a setting is invalid, or this kind of port would ignore it.
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
        if not isinstance(baudrate, int) or isinstance(baudrate, bool) or not 1 <= baudrate < 2**31:
            raise ValueError(f"baudrate must be a number of bits per second, up to {2**31 - 1}, not {baudrate!r}")
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
        if stopbits != 1 and (stopbits == 1.5) is not (bytesize == 5):  # UARTs would quietly use the other number
            raise ValueError(
                f"{bytesize} data bits go with 1 or {1.5 if bytesize == 5 else 2} stop bits, not {stopbits}"
            )
        port = checked_port(port)
        scheme = port.partition("://")[0].lower() if "://" in port else ""
        if exclusive and scheme in _WITHOUT_DEVICE:
            raise ValueError(f"exclusive=True locks a device of this machine, which {scheme}:// is not")
        if scheme == "socket":
            usual = {**dict.fromkeys(_CHOICES, False), "baudrate": 9600, "bytesize": 8, "parity": "N", "stopbits": 1}
            given = [name for name, value in line.items() if (value or False) != usual[name]]
            if given:
                raise ValueError(
                    f"{' and '.join(given)} cannot be set over socket://, which carries the bytes alone: set it at the "
                    "other end, or use rfc2217://"
                )
        super().__init__(SerialOpener(port, line), **settings)


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
        return open_serial(self.port, self.line, deadline)

    def discard(self) -> None:
        """Nothing is open yet."""
