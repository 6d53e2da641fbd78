"""How values of a chiller are printed: a table for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import timedelta
from typing import Any

import click
from rich.console import Console
from rich.table import Table

__all__ = ["in_words", "names_of", "plain", "row", "show"]


UNITS = {
    **dict.fromkeys(("setpoint", "supply_temperature", "return_temperature", "ambient_temperature"), "°C"),
    "flow": "l/min",
    "tec_currents": "A",
    "fan_speeds": "Hz",
}
"""Units of what is printed for people."""


def show(value: Any, as_json: bool) -> None:
    """Print a value of the client."""
    found = plain(value)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, item in flat(found).items():
        table.add_row(*row(name, item))
    Console(highlight=False).print(table)


def row(name: str, item: Any) -> tuple[str, str]:
    """Return name and value with its unit, as people read them."""
    if name == "uptime" and item is not None:
        return name, str(timedelta(seconds=item))
    unit = UNITS.get(name, "") if item is not None else ""
    return name.replace("_", " "), f"{in_words(item)} {unit}".rstrip()


def plain(value: Any) -> Any:
    """Return a value as JSON has it: bit sets as lists of names, enumerations as names, times in seconds."""
    if isinstance(value, enum.IntFlag):
        return names_of(value)
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def names_of(flags: enum.IntFlag) -> list[str]:
    """Return the names of the bits that are set; a reserved bit by its value."""
    known = [flag for flag in type(flags) if flag in flags]
    rest = int(flags) & ~sum(int(flag) for flag in known)
    return [str(flag.name) for flag in known] + ([f"{rest:#x}"] if rest else [])


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """Return nested values as one level."""
    found: dict[str, Any] = {}
    for name, item in values.items():
        found |= flat(item) if isinstance(item, dict) and name == "telemetry" else {name: item}
    return found


def in_words(item: Any) -> str:
    """Return a value as people read it."""
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, dict) and set(item) == {"level", "mode"}:
        return f"{item['level']} %, {item['mode']}"
    if isinstance(item, dict):
        return ", ".join(f"{name} {in_words(part)}" for name, part in item.items())
    if isinstance(item, list):
        return ", ".join(map(in_words, item)) or "none"
    return "-" if item is None else str(item)
