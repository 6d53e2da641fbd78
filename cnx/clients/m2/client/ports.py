"""One of the two ports of a controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from typing_extensions import Unpack

from cnx.clients.m2.client.client import M2Client
from cnx.clients.m2.client.events import MessageNotSent
from cnx.connections.sockets import SocketSettings

__all__ = ["Port", "PortSettings"]


class PortSettings(SocketSettings, total=False):
    """The settings of both ports; see :class:`~cnx.clients.m2.client.client.M2Client`."""

    check_message_rate: bool


class Port(M2Client):
    """One port of an :class:`~cnx.clients.m2.client.controller.M2Controller`, which connects and disconnects it.

    Args:
        host, port: where it leads to.
        consume: gets every message, on the thread that reads.
        on_end: gets this port and the reason when its link has ended, just before that is emitted.
        is_up: returns whether the controller is connected, so that messages can be sent.
        sequence: source of the sequence ids of commands.
        **settings: see :class:`~cnx.clients.m2.client.client.M2Client`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        consume: Callable[[Any], None],
        on_end: Callable[[Port, BaseException], None],
        is_up: Callable[[], bool],
        sequence: Iterator[int] | None,
        **settings: Unpack[PortSettings],
    ) -> None:
        # "callback" is named here so that it is a TypeError among the settings: all messages go to the controller.
        super().__init__(host, port, callback=None, sequence=sequence, **settings)
        self._consume = consume
        self._on_end = on_end
        self._is_up = is_up

    def on_message(self, message: Any) -> None:
        self._consume(message)

    def on_disconnected(self, reason: BaseException) -> None:
        self._on_end(self, reason)

    def check_usable(self, what: str) -> None:
        """Raise MessageNotSent if the controller is not connected.

        While ``CONNECTED`` of the controller is being emitted, the port is usable, although it counts as connected only
        after that.
        """
        if not self._is_up():
            raise MessageNotSent(f"{self.name} is not connected; {what} was not sent")
