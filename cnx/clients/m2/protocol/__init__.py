"""The protocol of the M2 cell controller, without I/O: its messages, and its tables as data."""

from __future__ import annotations

from cnx.clients.m2.protocol.faults import FAULTS
from cnx.clients.m2.protocol.messages import (
    BrokenMessage,
    Kind,
    M2Lines,
    kind_of,
    sequence_numbers,
)
from cnx.clients.m2.protocol.table import COMMANDS
from cnx.clients.m2.protocol.topics import EVENTS, TELEMETRY

__all__ = [
    "COMMANDS",
    "EVENTS",
    "FAULTS",
    "TELEMETRY",
    "BrokenMessage",
    "Kind",
    "M2Lines",
    "kind_of",
    "sequence_numbers",
]
