"""Descriptions of messages: fields with type, unit and range; topics and commands made of fields."""

from __future__ import annotations

import enum
import functools
import numbers
import operator
import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Command", "Field", "Topic"]


@dataclass(frozen=True)
class Field:
    """One field of a message, next to its ``id``.

    Attributes:
        name: the key on the wire.
        type: ``bool``, ``int``, ``float``, ``str`` or an ``IntEnum``. A ``float`` may be written as an integer.
        unit: physical unit, empty where there is none.
        low, high: range of each number, both included; both ``None`` where there is none.
        size: smallest and largest number of items of a list; ``None`` for a single value.
        optional: the field may be left out.
    """

    name: str
    type: type
    unit: str = ""
    low: float | None = None
    high: float | None = None
    size: tuple[int, int] | None = None
    optional: bool = False

    def check(self, value: Any) -> Any:
        """Return ``value`` as it is sent: numbers of other libraries as numbers of Python, tuples as lists.

        Raises:
            TypeError: the value has another type.
            ValueError: it is out of range, not finite, or a list of a wrong length.
        """
        if self.size is None:
            return self._check_one(value)
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{self.name} must be a list, not {reprlib.repr(value)}")
        least, most = self.size
        if not least <= len(value) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise ValueError(f"{self.name} must have {wanted} items, not {len(value)}")
        return [self._check_one(item) for item in value]

    def _check_one(self, value: Any) -> Any:
        if self.type in (bool, str):
            if not isinstance(value, self.type):
                raise TypeError(f"{self.name} must be {self.kind}, not {reprlib.repr(value)}")
            return value
        return self._check_number(value)

    def _check_number(self, value: Any) -> Any:
        wanted = numbers.Real if self.type is float else numbers.Integral
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"{self.name} must be {self.kind}, not {reprlib.repr(value)}")
        number = operator.index(value) if isinstance(value, numbers.Integral) else float(value)
        if not -sys.float_info.max <= number <= sys.float_info.max:
            raise ValueError(f"{self.name} must be a finite number, not {reprlib.repr(number)}")
        if issubclass(self.type, enum.IntEnum) and number not in list(self.type):
            raise ValueError(f"{self.name} must be one of {self.range}, not {number}")
        if (self.low is not None and number < self.low) or (self.high is not None and number > self.high):
            raise ValueError(f"{self.name} must be from {self.range}, not {number}")
        return number

    @property
    def kind(self) -> str:
        """The type in words."""
        names = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
        return names.get(self.type, f"a member of {self.type.__name__}")

    @property
    def range(self) -> str:
        """The allowed values and their unit in words; empty if there is neither a range nor a unit."""
        if issubclass(self.type, enum.IntEnum):
            return ", ".join(f"{member.value} {member.name}" for member in self.type)
        unit = f" {self.unit}" if self.unit else ""
        if self.low is None or self.high is None:
            return unit and f"in{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"


@dataclass(frozen=True)
class Topic:
    """An event or a telemetry message.

    Attributes:
        name: its ``id``.
        summary: its meaning.
        fields: its fields.
    """

    name: str
    summary: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Command:
    """A command of the controller.

    Attributes:
        name: its ``id`` without ``cmd_``.
        summary: what it does.
        parameters: its fields.
        timeout: seconds within which the controller gives the result.
        rule: checks the parameters against each other; raises ``TypeError`` or ``ValueError``.
    """

    name: str
    summary: str
    parameters: tuple[Field, ...] = ()
    timeout: float = 10.0
    rule: Callable[[Mapping[str, Any]], None] | None = None

    @functools.cached_property
    def _fields(self) -> dict[str, Field]:
        return {field.name: field for field in self.parameters}

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as they are sent, in the order given.

        Raises:
            TypeError: a parameter is missing or unknown, or has a wrong type.
            ValueError: a value is out of range, or does not fit the others.
        """
        if not values and not self.parameters:
            return {}
        fields = self._fields
        unknown = [name for name in values if name not in fields]
        missing = [name for name, field in fields.items() if name not in values and not field.optional]
        if unknown or missing:
            problem = f"has no parameter {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
            raise TypeError(f"the command {self.name} {problem}; its parameters: {', '.join(fields) or 'none'}")
        try:
            checked = {name: fields[name].check(value) for name, value in values.items()}
            if self.rule is not None:
                self.rule(checked)
        except (TypeError, ValueError) as error:
            raise type(error)(f"the command {self.name}: {error}") from None
        return checked
