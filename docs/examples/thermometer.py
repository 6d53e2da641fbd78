"""A client: a connection that knows what its device can do."""

from __future__ import annotations

import logging

import cnx


class Thermometer(cnx.SocketConnection):
    """A thermometer behind a TCP adapter. Thread-safe."""

    def __init__(self, host: str, port: int = 5025, *, timeout: float = 2.0) -> None:
        super().__init__(host, port, terminator=b"\n", timeout=timeout)

    def prepare(self, deadline: cnx.Deadline) -> None:
        """See that it is a thermometer, and keep looking after it."""
        identity = self.request(b"*IDN?\n", timeout=deadline.remaining())
        if not identity.startswith(b"ACME thermometer"):
            raise cnx.ConnectError(f"{self.address} is no thermometer but {identity!r}; check host and port")
        self.schedule(30.0, self.look_after)

    def celsius(self) -> float:
        """Return the temperature in degrees Celsius.

        Raises:
            DeviceError: it answered that it cannot tell.
            TimedOut, ConnectionError: it did not answer.
        """
        reply = self.request(b"T?\n")
        if reply.startswith(b"ERROR"):
            raise cnx.DeviceError(f"{self.name}: {reply.decode().strip()}")
        return float(reply)

    def look_after(self) -> None:
        """Raise the alarm if it does not answer any more, though the link looks fine."""
        try:
            self.celsius()
        except cnx.TimedOut as error:
            self.raise_alarm(error)

    def on_disconnected(self, reason: BaseException) -> None:
        """Fail what is in flight; here there is nothing but a line for the log."""
        logging.getLogger(__name__).info("%s: no temperatures any more: %s", self.name, reason)
