"""The protocol of ThermoTek chillers: commands to bytes and bytes to replies, without I/O."""

from cnx.clients.chiller.protocol.errors import ErrorCode
from cnx.clients.chiller.protocol.frames import (
    Answer,
    Call,
    Frames,
    Reply,
    compute_checksum,
    format_full_command,
)
from cnx.clients.chiller.protocol.table import COMMANDS, Command

__all__ = [
    "COMMANDS",
    "Answer",
    "Call",
    "Command",
    "ErrorCode",
    "Frames",
    "Reply",
    "compute_checksum",
    "format_full_command",
]
