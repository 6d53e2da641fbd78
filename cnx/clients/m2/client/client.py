"""A client for one port of the M2 cell controller."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cnx.clients.m2.client.delivery import M2Delivery
from cnx.clients.m2.client.events import MessageNotSent
from cnx.clients.m2.protocol.enums import MsgType
from cnx.clients.m2.protocol.messages import (
    BrokenMessage,
    M2Lines,
    checked_numbers,
    compose,
    encode,
    prepare_command,
    sequence_numbers,
)
from cnx.connections.sockets import SocketConnection
from cnx.deadline import Deadline, checked_timeout

__all__ = ["M2Client"]

log = logging.getLogger(__name__)


class M2Client(SocketConnection):
    """A connection to one port: commands, or telemetry. Thread-safe.

    Messages are told by ``MESSAGE_RECEIVED`` and by the :class:`~cnx.clients.m2.client.events.M2Signals` of their
    kind, or taken with :meth:`receive`; all other ways of :class:`~cnx.SocketConnection` to read and write work too. A
    line that is no message is skipped, and told by ``M2Signals.BROKEN``; a line over 65536 bytes ends the connection.

    Args:
        host, port: one port of the controller; 50000 for commands, 50001 for telemetry.
        callback: called with every message, as ``callback(*callback_args, message=message)``, on the thread that reads.
            What it raises is logged.
        callback_args: its first arguments.
        sequence: where commands get their numbers, to share one sequence between clients; any iterator of integers from
            0 to 2147483647.
        check_message_rate: measure messages per second: :attr:`message_rate`, and a debug line every two seconds.
        framing: cuts lines and decodes them; the fastest that is installed if omitted.
        **settings: see :class:`~cnx.SocketConnection`.

    Attributes:
        sequence: where commands get their numbers.
        numbers: the same, checked.
        last_sequence_id: number of the last command; -1 before the first.
        message_rate: messages per second, of the last period of two seconds; ``None`` if there was none.
    """

    on_message: Callable[[Any], None]  # there only if there is a callback

    def __init__(
        self,
        host: str,
        port: int,
        *,
        callback: Callable[..., object] | None = None,
        callback_args: tuple[Any, ...] = (),
        sequence: Iterator[int] | None = None,
        check_message_rate: bool = False,
        framing: M2Lines | None = None,
        **settings: Any,
    ) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"callback is callable, not {callback!r}")
        if sequence is not None and not isinstance(sequence, Iterator):
            raise TypeError(f"sequence is an iterator, not {sequence!r}")
        super().__init__(host, port, framing=framing or M2Lines(loads=fastest_decoder()), **settings)
        self.measures_rate = check_message_rate
        self.message_rate: int | None = None
        self.last_sequence_id = -1
        self.sequence = sequence_numbers() if sequence is None else sequence
        self.numbers = self.sequence if sequence is None else checked_numbers(sequence)
        if callback is not None:
            self._callback = callback, callback_args
            self.on_message = self._call_back

    def write_message(
        self,
        msg_type: int,
        msg_name: str,
        msg_details: Mapping[str, Any] | None = None,
        comp_name: str | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a message to the controller; its parameters are not checked.

        Args:
            msg_type: :class:`~cnx.clients.m2.protocol.enums.MsgType`, or its number.
            msg_name: the identifier without its prefix.
            msg_details: the other fields.
            comp_name: the component that an event or telemetry belongs to; ignored for commands.
            timeout: seconds.

        Raises:
            MessageNotSent: there is no connection; this is also a ``RuntimeError``.
            TypeError: the details are no mapping, or have no JSON form.
            ValueError: the details have an ``id``, there is no such type, or the sequence gave no number.
            ConnectionLost, TimedOut: see :class:`~cnx.connections.writing.Writing`.
        """
        if msg_type == MsgType.COMMAND:
            self.send_command(msg_name, msg_details, timeout=timeout)
            return
        self.check_usable(msg_name)
        self.write(encode(compose(msg_type, msg_name, msg_details, comp_name)), timeout=timeout)

    def send_command(
        self, name: str, details: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> None:
        """Send a command; as :meth:`write_message`.

        Commands go out in the order of their numbers: ``timeout`` is for those before this one, too.
        """
        self.check_usable(name)
        line_of = prepare_command(name, details)
        patience = self._timeout if timeout is None else checked_timeout(timeout)
        link = self._link or self._current()
        link.write(line_of, patience, self._numbered)

    def _numbered(self, line_of: Callable[[int], bytes]) -> bytes:
        """Return the line of a command with the next number, while nobody else writes."""
        self.last_sequence_id = number = next(self.numbers)
        return line_of(number)

    def receive(self, *, timeout: float | None = None) -> Any:
        """Return the next message; broken ones are logged and skipped."""
        deadline = Deadline(self._timeout if timeout is None else timeout)
        while isinstance(message := super().receive(timeout=deadline.remaining()), BrokenMessage):
            log.warning("%s: skipped a broken message: %s", self.name, message.reason)
        return message

    def close(self) -> None:
        """Disconnect. Always safe, also from within the callback, and any number of times."""
        self.disconnect()

    def check_usable(self, what: str) -> None:
        """Raise MessageNotSent without a connection."""
        if not self.connected:
            raise MessageNotSent(f"{self.name} is not connected; {what} was not sent")

    def _call_back(self, message: Any) -> None:
        callback, arguments = self._callback
        try:
            callback(*arguments, message=message)
        except Exception:
            log.exception("%s: the callback failed; the next messages are still given to it", self.name)

    def _new_delivery(self) -> M2Delivery:
        return M2Delivery(self, self._framing, self._limit)


def fastest_decoder() -> Callable[[bytes], Any] | None:
    """Return msgspec's decoder if it is installed (``cnx[speed]``), else ``None`` for the standard library's.

    Of the fast decoders msgspec is the one that keeps integers above 64 bits exact. What it refuses, such as ``NaN``,
    the standard library decides.
    """
    try:
        import msgspec
    except ImportError:
        return None
    return msgspec.json.Decoder().decode
