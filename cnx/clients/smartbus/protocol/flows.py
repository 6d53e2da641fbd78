"""Messages to and from flows: calls, acknowledgements, returns and notices.

Source: the packets that the library ``libbusnetcli.so`` 1.0.1.0465 of the public package
``hesong-ipsc-busnetcli`` sends and accepts; the encodings are those of its Python wrapper.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cnx.clients.smartbus.protocol.codes import CmdType, SystemCmd
from cnx.clients.smartbus.protocol.layout import Layout, Text, decode_text, encode_text
from cnx.clients.smartbus.protocol.messages import Message
from cnx.errors import InvalidJson, ProtocolError
from cnx.json_lines import format_json

__all__ = ["FlowAck", "FlowReturn", "InvokeFlow", "Notify"]

PARAMETERS_LIMIT = 8001
"""The longest parameter text of a flow, in bytes."""
NOTICE_LIMIT = 15999
"""The longest text of a notice, in bytes."""
ANSWER_LIMIT = 0x0FFFFFF0
"""The longest text of an answer, in bytes; with its header it fits into a packet."""
CHANNEL = -1
"""The event channel, which the library always sends as -1."""
STARTED = 1
"""The acknowledgement of a flow that has started."""
WITH_RETURN = 0
"""The mode of a call that returns values."""
WITHOUT_RETURN = 1
"""The mode of a call that returns nothing."""


def dump_values(values: Iterable[Any]) -> str:
    """Return ``values`` as the text of a JSON array in ASCII.

    Raises:
        TypeError, ValueError: a value cannot be written as JSON.
    """
    if isinstance(values, (str, bytes, dict)):
        raise TypeError(f"values must be a list or tuple, not {type(values).__name__}; put a single value into a list")
    return format_json(list(values))


def load_values(text: str) -> list[Any]:
    """Return the values of a JSON array; an empty text counts as an empty array.

    Raises:
        InvalidJson: it is not JSON, or not an array.
    """
    try:
        values = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError):
        raise InvalidJson(f"values of a flow must be a JSON array, not {text[:80]!r}", text) from None
    if not isinstance(values, list):
        raise InvalidJson(f"values of a flow must be a JSON array, not {text[:80]!r}", text)
    return values


def _tail(data: bytes) -> bytes:
    # The library expects a terminated string and one more byte.
    return data + b"\0\0"


def _need(payload: bytes, size: int, what: str) -> None:
    if len(payload) < size:
        raise ProtocolError(f"{what} must carry at least {size} bytes, not {len(payload)}")


@dataclass(frozen=True)
class InvokeFlow(Message):
    """A client calls a flow of a server. The timeout of the call is not transmitted.

    Attributes:
        project, flow: their ids, at most 31 bytes each in UTF-8.
        invoke_id: the number by which the answers are matched.
        parameters: the text of a JSON array, at most 8001 bytes.
        mode: 0 with return, 1 without.
    """

    cmd_type = CmdType.SYSTEM
    cmd = SystemCmd.INVOKE_FLOW
    LAYOUT = Layout(
        code="B", project=Text(32), flow=Text(32), mode="B", channel="i", invoke_id="i", length="i", unused="34s"
    )

    project: str
    flow: str
    invoke_id: int
    parameters: str = "[]"
    mode: int = WITH_RETURN

    def payload(self) -> bytes:
        """Return the bytes after the header."""
        text = encode_text("parameters", self.parameters, PARAMETERS_LIMIT)
        return self.LAYOUT.pack(
            code=self.cmd, project=self.project, flow=self.flow, mode=self.mode, channel=CHANNEL,
            invoke_id=self.invoke_id, length=len(text), unused=b"",
        ) + _tail(text)  # fmt: skip

    @classmethod
    def parse(cls, payload: bytes) -> InvokeFlow:
        """Return the call."""
        _need(payload, cls.LAYOUT.size + 2, "a flow call")
        fields = cls.LAYOUT.unpack(payload)
        text = decode_text(payload[cls.LAYOUT.size :])
        return cls(fields["project"], fields["flow"], fields["invoke_id"], text, fields["mode"])


@dataclass(frozen=True)
class FlowAck(Message):
    """The server has started a flow, or failed to.

    Attributes:
        project: id of the project, as the server sends it.
        invoke_id: the number of the call.
        ack: 1 if the flow has started, otherwise an error code.
        message: explains the error.
    """

    cmd_type = CmdType.SYSTEM
    cmd = SystemCmd.INVOKE_FLOW_ACK
    LAYOUT = Layout(code="B", project=Text(32, "cp936"), invoke_id="i", channel="i", ack="i", length="i")

    project: str
    invoke_id: int
    ack: int = STARTED
    message: str = ""

    def payload(self) -> bytes:
        """Return the bytes after the header."""
        text = encode_text("message", self.message, ANSWER_LIMIT, "cp936")
        return self.LAYOUT.pack(
            code=self.cmd,
            project=self.project,
            invoke_id=self.invoke_id,
            channel=CHANNEL,
            ack=self.ack,
            length=len(text),
        ) + _tail(text)

    @classmethod
    def parse(cls, payload: bytes) -> FlowAck:
        """Return the acknowledgement. The text ends at its NUL; the length field is ignored, as in the library."""
        _need(payload, cls.LAYOUT.size + 2, "the acknowledgement of a flow")
        fields = cls.LAYOUT.unpack(payload)
        message = decode_text(payload[cls.LAYOUT.size :], "cp936")
        return cls(fields["project"], fields["invoke_id"], fields["ack"], message)


@dataclass(frozen=True)
class FlowReturn(Message):
    """The values that a flow returned. There is no error code: a return is a success.

    Attributes:
        project: id of the project, as the server sends it.
        invoke_id: the number of the call.
        text: a JSON array.
    """

    cmd_type = CmdType.SYSTEM
    cmd = SystemCmd.INVOKE_FLOW_RET
    LAYOUT = Layout(code="B", project=Text(32), invoke_id="i", channel="i", length="i")

    project: str
    invoke_id: int
    text: str = "[]"

    def payload(self) -> bytes:
        """Return the bytes after the header."""
        text = encode_text("returned values", self.text, ANSWER_LIMIT, "cp936")
        return self.LAYOUT.pack(
            code=self.cmd, project=self.project, invoke_id=self.invoke_id, channel=CHANNEL, length=len(text)
        ) + _tail(text)

    @classmethod
    def parse(cls, payload: bytes) -> FlowReturn:
        """Return the answer. The text ends at its NUL; the length field is ignored, as in the library."""
        _need(payload, cls.LAYOUT.size + 2, "the return of a flow")
        fields = cls.LAYOUT.unpack(payload)
        return cls(fields["project"], fields["invoke_id"], decode_text(payload[cls.LAYOUT.size :], "cp936"))


@dataclass(frozen=True)
class Notify(Message):
    """A notice to a flow server, which does not answer.

    Attributes:
        project: id of the project, at most 31 bytes, may be empty.
        title: 1 to 101 bytes in UTF-8.
        text: 1 to 15999 bytes in cp936.
        invoke_id: the number of the notice, unique for each client.
        expires: time to live in milliseconds.
    """

    cmd_type = CmdType.SYSTEM
    cmd = SystemCmd.NOTIFY
    LAYOUT = Layout(code="B", project=Text(32), mode="B", invoke_id="i", expires="i", title=Text(102), length="i")

    project: str
    title: str
    text: str
    invoke_id: int
    expires: int = 0
    mode: int = 0

    def payload(self) -> bytes:
        """Return the bytes after the header."""
        encode_text("title", self.title, 101, minimum=1)
        text = encode_text("text", self.text, NOTICE_LIMIT, "cp936", minimum=1)
        return self.LAYOUT.pack(
            code=self.cmd, project=self.project, mode=self.mode, invoke_id=self.invoke_id,
            expires=self.expires, title=self.title, length=len(text),
        ) + _tail(text)  # fmt: skip

    @classmethod
    def parse(cls, payload: bytes) -> Notify:
        """Return the notice."""
        _need(payload, cls.LAYOUT.size + 2, "a notice")
        fields = cls.LAYOUT.unpack(payload)
        text = decode_text(payload[cls.LAYOUT.size :], "cp936")
        return cls(fields["project"], fields["title"], text, fields["invoke_id"], fields["expires"], fields["mode"])
