"""Faults as text, for command lines: ``delay=0.05,jitter=0.02``."""

from __future__ import annotations

import dataclasses
from typing import Any

from cnx.faults import links, stream
from cnx.faults.fault import Fault

__all__ = ["KINDS", "parse"]

KINDS: dict[str, type[Fault]] = {
    name: getattr(module, name)
    for module in (stream, links)
    for name in module.__all__
    if getattr(module, name).in_text
}
"""The faults that have a text form, by name."""


def parse(text: str) -> Fault:
    """Return the fault that ``text`` describes: its name, optionally with its first option, and further options.

    ``"split"``, ``"half_open=3"``, ``"delay=0.05,jitter=0.02,direction=both"``. ``str(fault)`` gives such a text.

    Raises:
        ValueError: the fault or an option is unknown, or a value is wrong.
    """
    name, _, first = text.partition(",")[0].partition("=")
    kind = KINDS.get(name.strip())
    if kind is None:
        raise ValueError(f"unknown fault {name.strip()!r} in {text!r}; the faults are {', '.join(sorted(KINDS))}")
    fields = {field.name: field for field in kind.options()}
    words = [word.partition("=") for word in text.split(",")[1:]]
    if first:
        words.append((next(iter(fields)), "=", first))
    options: dict[str, Any] = {}
    for key, _, value in words:
        if key.strip() not in fields or key.strip() in options:
            raise ValueError(f"unknown or repeated option {key.strip()!r} in {text!r}; {name} has {', '.join(fields)}")
        options[key.strip()] = value_of(value.strip(), fields[key.strip()], text)
    return kind(**options)


def value_of(word: str, field: dataclasses.Field[Any], text: str) -> Any:
    """Return ``word`` as the type of the field's default."""
    kind: Any = type(field.default)
    try:
        return kind(word)
    except ValueError:
        raise ValueError(f"{field.name} must be a number, not {word!r}, in {text!r}") from None
