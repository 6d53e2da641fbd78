"""Connections over serial ports."""

from __future__ import annotations

from typing import Any

from cnx.connections.stream import StreamConnection
from cnx.deadline import Deadline
from cnx.transports.serial_ports import checked_port, open_serial
from cnx.transports.transport import Transport

__all__ = ["SerialConnection"]

_CHOICES: dict[str, tuple[Any, ...]] = {
    "bytesize": (5, 6, 7, 8),
    "parity": ("N", "E", "O", "M", "S"),
    "stopbits": (1, 1.5, 2),
    "xonxoff": (True, False),
    "rtscts": (True, False),
    "dsrdtr": (True, False),
    "exclusive": (True, False, None),
}


class SerialConnection(StreamConnection):
    """A serial port, opened and configured by pyserial.

    Args:
        port: a device such as ``/dev/ttyUSB0`` or ``COM3``, or a URL of pyserial: ``loop://``, ``socket://host:port``,
            ``rfc2217://host:port`` and the others.
        baudrate: bits per second.
        bytesize: data bits, 5 to 8.
        parity: ``"N"``, ``"E"``, ``"O"``, ``"M"`` or ``"S"``.
        stopbits: 1, 1.5 or 2.
        timeout: seconds for each reading and writing call that is given none; ``None`` for no limit.
        xonxoff: flow control by software.
        rtscts: flow control by the lines RTS and CTS.
        dsrdtr: flow control by the lines DSR and DTR.
        exclusive: refuse the port to other programs (POSIX).
        **settings: see :class:`~cnx.connections.stream.StreamConnection`.
    """

    def __init__(
        self,
        port: str,
        baudrate: int = 9600,
        bytesize: int = 8,
        parity: str = "N",
        stopbits: float = 1,
        timeout: float | None = None,
        *,
        xonxoff: bool = False,
        rtscts: bool = False,
        dsrdtr: bool = False,
        exclusive: bool | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(baudrate, int) or isinstance(baudrate, bool) or baudrate < 1:
            raise ValueError(f"baudrate is a number of bits per second, not {baudrate!r}")
        self._port = checked_port(port)
        self._settings = {
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
            if self._settings[name] not in choices:
                raise ValueError(f"{name} is one of {', '.join(map(str, choices))}, not {self._settings[name]!r}")
        super().__init__(timeout=timeout, **settings)

    @property
    def address(self) -> str:
        return self._port

    def open_transport(self, deadline: Deadline) -> Transport:
        settings = dict(self._settings)
        if "://" in self._port:
            settings.pop("exclusive")  # only devices of this machine can be locked
        return open_serial(self._port, settings, deadline)
