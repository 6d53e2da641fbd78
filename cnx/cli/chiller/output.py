"""Printing values of a chiller: as a table for people, or as JSON for programs."""

from __future__ import annotations

import dataclasses
import enum
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from cnx.cli.console import echo_json
from cnx.printable import printable

__all__ = ["as_text", "flag_names", "json_value", "print_value", "table_row"]

UNITS = {
    **dict.fromkeys(("setpoint", "supply_temperature", "return_temperature", "ambient_temperature"), "°C"),
    "flow": "l/min",
    "tec_currents": "A",
    "fan_speeds": "Hz",
}
"""Units in the table, by name of the value."""


def print_value(value: Any, as_json: bool) -> None:
    """Print a value returned by the client."""
    found = json_value(value)
    if as_json:
        echo_json(found)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, item in flattened(found).items():
        table.add_row(*table_row(name, item))
    Console(highlight=False).print(table)


def table_row(name: str, item: Any) -> tuple[str, str]:
    """Return the name and the text of a value, with its unit."""
    if name == "uptime" and item is not None:
        return name, str(timedelta(seconds=item))
    unit = UNITS.get(name, "") if item is not None else ""
    return name.replace("_", " "), printable(f"{as_text(item)} {unit}".rstrip())


def json_value(value: Any) -> Any:
    """Return a value for JSON: flags as lists of names, enumerations as names, times in seconds."""
    if isinstance(value, enum.IntFlag):
        return flag_names(value)
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return json_value(value._asdict())
    if isinstance(value, dict):
        return {name: json_value(item) for name, item in value.items()}
    return [json_value(item) for item in value] if isinstance(value, (tuple, list)) else value


def flag_names(flags: enum.IntFlag) -> list[str]:
    """Return the names of the bits that are set; reserved bits as a hexadecimal number."""
    known = [flag for flag in type(flags) if flag in flags]
    rest = int(flags) & ~sum(int(flag) for flag in known)
    return [str(flag.name) for flag in known] + ([f"{rest:#x}"] if rest else [])


def flattened(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with those of the telemetry at the same level."""
    found: dict[str, Any] = {}
    for name, item in values.items():
        found |= flattened(item) if isinstance(item, dict) and name == "telemetry" else {name: item}
    return found


def as_text(item: Any) -> str:
    """Return the text of a value made by :func:`json_value`."""
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, dict) and set(item) == {"level", "mode"}:
        return f"{item['level']} %, {item['mode']}"
    if isinstance(item, dict):
        return ", ".join(f"{name} {as_text(part)}" for name, part in item.items())
    if isinstance(item, list):
        return ", ".join(map(as_text, item)) or "none"
    return "-" if item is None else str(item)
