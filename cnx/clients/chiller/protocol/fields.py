"""Kinds of data fields in the chiller protocol: each converts one value to characters and back.

Source: "TTK Serial Communication Protocol Release II", revision X2.003: legend.
"""

from __future__ import annotations

import numbers
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import IntFlag
from typing import Any

from cnx.errors import ProtocolError

__all__ = ["Bits", "Choice", "Field", "Fixed", "Literal", "Whole"]


_SIGNED = re.compile("[+-][0-9]{4}")
_DIGITS = re.compile("[0-9]+")
_HEXADECIMAL = re.compile("[0-9A-Fa-f]+")


class Field(ABC):
    """One field of the data of a command or reply; ``width`` is its size in characters."""

    name: str
    width: int

    @abstractmethod
    def encode(self, value: Any) -> str:
        """Return ``value`` as ``width`` characters.

        Raises:
            TypeError, ValueError: the value is invalid; the message names the limits.
        """

    @abstractmethod
    def decode(self, text: str) -> Any:
        """Return the value of ``width`` characters; ``None`` if the field carries none.

        Raises:
            ProtocolError: they do not match the pattern or the range of the field.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return layout, unit and range as text."""

    def malformed(self, text: str) -> ProtocolError:
        """Return the error for characters that are not a value of this field."""
        return ProtocolError(f"{self.name} is {text!r}, but must be {self.describe()}")


@dataclass(frozen=True)
class Literal(Field):
    """Fixed characters that carry no value."""

    text: str
    name: str = "literal"

    @property
    def width(self) -> int:  # type: ignore[override]  # follows from the text
        """Size of the text in characters."""
        return len(self.text)

    def encode(self, value: Any = None) -> str:
        """Return the text."""
        return self.text

    def decode(self, text: str) -> None:
        """Check that it is the text."""
        if text != self.text:
            raise self.malformed(text)

    def describe(self) -> str:
        """Return the text in quotes."""
        return repr(self.text)


@dataclass(frozen=True)
class Fixed(Field):
    """A sign and four digits that hold a number times ``scale``: ``+0152`` is 15.2 at scale 10."""

    name: str
    unit: str
    scale: int
    low: float
    high: float
    width: int = 5

    def encode(self, value: Any) -> str:
        """Return ``value`` rounded half away from zero, never ``-0000``."""
        number = decimal_number(self.name, value)
        if not self.low - 1 <= number <= self.high + 1:  # first, as a huge exponent would take forever below
            raise self._outside(value)
        scaled = int((number * self.scale).to_integral_value(ROUND_HALF_UP))
        if not round(self.low * self.scale) <= scaled <= round(self.high * self.scale):
            raise self._outside(value)
        return f"{scaled:+05d}"

    def decode(self, text: str) -> float:
        """Return the number."""
        if not _SIGNED.fullmatch(text):
            raise self.malformed(text)
        value = int(text) / self.scale
        if not self.low <= value <= self.high:
            raise self.malformed(text)
        return value

    def describe(self) -> str:
        """Return for instance ``sign and 4 digits, °C x 10, -999.9 to 999.9``."""
        return f"sign and 4 digits, {self.unit} x {self.scale}, {self.low:g} to {self.high:g}"

    def _outside(self, value: object) -> ValueError:
        return ValueError(f"{self.name} of {value} is not from {self.low:g} to {self.high:g} {self.unit}")


@dataclass(frozen=True)
class Whole(Field):
    """A whole number without a sign, padded with zeros."""

    name: str
    unit: str
    width: int
    low: int
    high: int

    def encode(self, value: Any) -> str:
        """Return ``value`` with leading zeros."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{self.name} must be an int, not {value!r}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{self.name} of {value} is not from {self.low} to {self.high} {self.unit}".rstrip())
        return f"{value:0{self.width}d}"

    def decode(self, text: str) -> int:
        """Return the number."""
        if len(text) != self.width or not _DIGITS.fullmatch(text):
            raise self.malformed(text)
        value = int(text)
        if not self.low <= value <= self.high:
            raise self.malformed(text)
        return value

    def describe(self) -> str:
        """Return for instance ``4 digits, Hz, 0 to 9999``."""
        return ", ".join(filter(None, [f"{self.width} digit{'s' * (self.width > 1)}", self.unit, self._range()]))

    def _range(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Choice(Field):
    """One of a few characters; ``options`` maps each to its value."""

    name: str
    options: Mapping[str, Any]
    width: int = 1

    def encode(self, value: Any) -> str:
        """Return the character for ``value``."""
        for character, option in self.options.items():
            if option == value and isinstance(option, bool) == isinstance(value, bool):
                return character
        raise ValueError(f"{self.name} must be one of {', '.join(map(str, self.options.values()))}, not {value!r}")

    def decode(self, text: str) -> Any:
        """Return the value of the character."""
        if text not in self.options:
            raise self.malformed(text)
        return self.options[text]

    def describe(self) -> str:
        """Return for instance ``0 standby, 1 run``."""
        return ", ".join(f"{character} {_in_words(option)}" for character, option in self.options.items())


@dataclass(frozen=True)
class Bits(Field):
    """Hexadecimal digits, the leftmost one the least significant: ``01A000`` is 0xA10."""

    name: str
    kind: type[IntFlag]
    width: int

    def encode(self, value: Any) -> str:
        """Return the digits of ``value``."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{self.name} must be an int, not {value!r}")
        if not 0 <= value < 1 << 4 * self.width:
            raise ValueError(f"{self.name} of {value:#x} does not fit {self.width} hexadecimal digits")
        return f"{int(value):0{self.width}X}"[::-1]

    def decode(self, text: str) -> IntFlag:
        """Return the bits that are set; digits beyond ``width`` are reserved and ignored."""
        if not _HEXADECIMAL.fullmatch(text):
            raise self.malformed(text)
        return self.kind(int(text[self.width - 1 :: -1] if len(text) > self.width else text[::-1], 16))

    def describe(self) -> str:
        """Return for instance ``6 hexadecimal digits, the first one the least significant``."""
        return f"{self.width} hexadecimal digits, the first one the least significant"


def decimal_number(name: str, value: object) -> Decimal:
    """Return ``value`` as the decimal number in its text form, so that 1.25 is exactly 1.25.

    Raises:
        TypeError: it is not a number.
        ValueError: it is NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, numbers.Real)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        number = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    except OverflowError:
        raise ValueError(f"{name} must be a finite number, and this one is too large") from None
    if not number.is_finite():
        raise ValueError(f"{name} must be a finite number, not {value}")
    return number


def _in_words(option: object) -> str:
    if isinstance(option, bool):
        return "yes" if option else "no"
    return str(getattr(option, "name", option)).lower().replace("_", " ")
