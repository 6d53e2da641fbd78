"""Make text of others safe to show: on a terminal, in a log line, in a spreadsheet.

What a peer sends, or the descriptor of a device says, may contain escape sequences that a terminal obeys, and line
breaks that forge a line of output or of a log. Everything that cnx shows passes through one of these functions.
"""

from __future__ import annotations

import unicodedata

__all__ = ["printable", "spreadsheet_cell"]

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_FORMULA = ("=", "+", "-", "@")
"""What a formula begins with in common programs."""


def printable(text: str) -> str:
    """Return ``text`` in one line, with an escape such as ``\\u001b`` in place of each character that is not printable.

    These are control characters, line breaks, marks that change the direction of text, and halves of surrogate pairs.
    The escapes are those of JSON, so JSON text stays JSON with the same meaning.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":  # all kinds of spaces
        return character
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass")  # two for a character above U+FFFF, as in JSON
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def spreadsheet_cell(value: object) -> object:
    """Return ``value`` for a cell of a CSV file: a number as it is, text so that no program takes it for a formula."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = printable(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
