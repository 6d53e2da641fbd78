"""Text of others that is shown: nothing in it acts on a terminal, forges a line, or is a formula."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnx.printable import printable, spreadsheet_cell

texts = st.text(st.characters() | st.sampled_from("\x1b\x07\x00\x7f\x9b\n\r\t\u2028\u202e\ud800\ufeff\U000e0001\\é好"))


@given(texts)
def test_nothing_acts_on_a_terminal(text: str) -> None:
    """All that is left can be printed and encoded, in one line."""
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert all(character.isprintable() or character.isspace() for character in shown)
    assert not set(shown) & {"\x1b", "\x7f", "\x9b", "\n", "\r", "\u2028", "\u202e"}
    shown.encode()
    assert printable(shown) == shown


@given(st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=5))
def test_json_stays_json(value: Any) -> None:
    """With the same meaning."""
    assert json.loads(printable(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize("text", ["", "plain", "Grüße 日本", "a\u3000b\u00a0c", "😀", "\\x1b"])
def test_what_is_left_as_it_is(text: str) -> None:
    """Letters of all kinds, and spaces of all kinds."""
    assert printable(text) == text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (1, 1),
        (-1.5, -1.5),
        (None, None),
        ("text", "text"),
        ("=1+1", "'=1+1"),
        (" @SUM(A1)", "' @SUM(A1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("\t=1", r"\t=1"),
        ("a\n=1", r"a\n=1"),
        (["=1"], "['=1']"),
    ],
)
def test_cells(value: object, cell: object) -> None:
    """Numbers are numbers, and text is text."""
    assert spreadsheet_cell(value) == cell
